"""The figures of control engineering: prediction over reality, Bode, Nyquist, steps, stable gains."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from orchestrator.engineering.curves import (
    Analysis,
    answers,
    frequencies,
    horizon,
    ms_circle,
    region,
    stable_gains,
)
from orchestrator.engineering.sources import measurements
from orchestrator.report.control import Designed
from orchestrator.report.figures import colour
from orchestrator.report.plot_style import Figure, numbers, styled
from orchestrator.storage.run_data import CampaignRecords

NEAR = 2.5  # of the Nyquist curve, its part around −1 is what counts
MS_LEVELS = ((1.4, "dash"), (2.0, "dot"))

Linear = list[tuple[Designed, Analysis]]


def predictions(campaign: CampaignRecords, loops: Sequence[Designed]) -> list[Figure]:
    """Readings of every seed over the band that was predicted, one figure a loop."""
    return [_prediction(campaign, each, index) for index, each in enumerate(loops)]


def linear(campaign: CampaignRecords, loops: Sequence[Designed]) -> list[Figure]:
    """What linear theory says of the loops: common figures, then a map of gains for each plant."""
    known = [(each, analysis) for each in loops if (analysis := each.analysis) is not None]
    if not known:
        return []
    steady = [(each, analysis) for each, analysis in known if analysis.margins.stable]
    return [
        _bode(campaign, known),
        _phase(campaign, known),
        _nyquist(campaign, known),
        _step(campaign, steady),
        _disturbance(campaign, steady),
        *(_stability(campaign, *pair, index) for index, pair in enumerate(known)),
    ]


def _prediction(campaign: CampaignRecords, each: Designed, index: int) -> Figure:
    shade, data, unit = colour(campaign, each.arm.name), [], "nats per token"
    if each.prediction is not None and each.agreement is not None:
        low, median, high = each.prediction.quantiles(each.prediction.y)
        t = np.arange(median.size)
        band = {
            "x": [*t.tolist(), *t[::-1].tolist()],
            "y": [*numbers(low), *numbers(high[::-1])],
            "type": "scatter",
            "mode": "lines",
            "fill": "toself",
            "fillcolor": "@muted/0.22",
            "line": {"width": 0},
            "hoverinfo": "skip",
            "name": "predicted, 5 to 95 %",
        }
        data = [band, _line(t, median, "@muted", name="predicted, median", width=1.6)]
        for run in each.arm.shown:
            y = measurements(run, each.loop)
            known = np.isfinite(y)
            data.append(
                _line(np.flatnonzero(known), y[known], shade, name=f"seed {run.info.seed}", width=1.1)
            )
        r = np.median(each.prediction.r, axis=0)
        known = np.isfinite(r)
        data.append(_line(t[known], r[known], "@ink", name="setpoint", width=1.2, dash="5px,4px"))
        found = each.agreement
        unit += (
            f"; normalised RMSE {found.normalised_rmse:.2f}, {found.expected_normalised_rmse:.2f} expected of "
            f"a right prediction; {found.coverage:.0%} of the readings in the band, {found.expected_coverage:.0%} expected"
        )
    figure = Figure(
        id=f"control-prediction-{index}",
        title=f"{each.name}: prediction and reality",
        unit=unit,
        data=data,
        layout={"yaxis": {"rangemode": "tozero"}},
        arms=(each.arm.name,),
    )
    return styled(figure, missing=each.why_not)


def _bode(campaign: CampaignRecords, loops: Linear) -> Figure:
    data = []
    for each, analysis in loops:
        found = frequencies(analysis)
        data.append(_line(found.omega, found.magnitude, colour(campaign, each.arm.name), name=each.name))
    return _figure(
        "control-bode",
        "Open loop: gain",
        "gain of L over frequency; feedback ends at 1" + _margins_in_words(loops, "gain"),
        loops,
        data,
        {**_frequency_axis(), "yaxis": _decades(), "shapes": [_level(1)]},
    )


def _phase(campaign: CampaignRecords, loops: Linear) -> Figure:
    data = []
    for each, analysis in loops:
        found = frequencies(analysis)
        data.append(_line(found.omega, found.phase_degrees, colour(campaign, each.arm.name), name=each.name))
    return _figure(
        "control-phase",
        "Open loop: phase",
        "degrees over frequency" + _margins_in_words(loops, "phase"),
        loops,
        data,
        {**_frequency_axis(), "shapes": [_level(-180)]},
    )


def _nyquist(campaign: CampaignRecords, loops: Linear) -> Figure:
    data = []
    for each, analysis in loops:
        shade, curve = colour(campaign, each.arm.name), frequencies(analysis).transfer
        near = curve[np.abs(curve) < 4 * NEAR]
        data.append(_line(near.real, near.imag, shade, name=each.name))
        ms = analysis.margins.ms
        if np.isfinite(ms):
            data.append(_line(*ms_circle(ms), shade, name=f"{each.name}: Ms {ms:.2f}", width=1, dash="dot"))
    data.append({**_line(np.array([-1.0]), np.array([0.0]), "@ink", name="−1"), "mode": "markers"})
    layout = {
        "hovermode": "closest",
        "xaxis": {"title": {"text": "real part"}, "range": [-NEAR, NEAR - 1], "zeroline": False},
        "yaxis": {"range": [-NEAR, NEAR - 1], "scaleanchor": "x"},
    }
    unit = "L in the plane; no curve enters its dotted circle of radius 1 / Ms around −1"
    return _figure("control-nyquist", "Nyquist curve", unit, loops, data, layout)


def _step(campaign: CampaignRecords, loops: Linear) -> Figure:
    data = []
    for each, analysis in loops:
        y = answers(analysis, _length(loops)).reference
        data.append(_line(np.arange(y.size), y, colour(campaign, each.arm.name), name=each.name))
    unit = "response to a step of the setpoint, as a share of the step; without noise and limits"
    return _figure("control-step", "Step response", unit, loops, data, {"shapes": [_level(1)]})


def _disturbance(campaign: CampaignRecords, loops: Linear) -> Figure:
    data = []
    for each, analysis in loops:
        y = answers(analysis, _length(loops)).disturbance_percent
        data.append(_line(np.arange(y.size), y, colour(campaign, each.arm.name), name=each.name))
    unit = "% of its level, while a pull of 1 % an iteration goes on"
    return _figure("control-disturbance", "Entropy under a pull", unit, loops, data, {"shapes": [_level(0)]})


def _stability(campaign: CampaignRecords, each: Designed, analysis: Analysis, index: int) -> Figure:
    shade, found = colour(campaign, each.arm.name), stable_gains(analysis)
    kp, ki, _ = analysis.gains_in_z
    edge = {
        **_line(*region(found), shade, name="stable"),
        "fill": "toself",
        "fillcolor": f"{shade}/0.12",
    }
    data = [edge]
    for ms, dash in MS_LEVELS:
        data.append(_line(*region(found, ms), shade, name=f"Ms {ms:g}", width=1.4, dash=dash))
    point = _line(np.array([kp]), np.array([ki]), "@ink", name="the loop")
    data.append({**point, "mode": "markers", "marker": {"size": 9, "color": "@ink"}})
    layout = {
        "hovermode": "closest",
        "xaxis": {"title": {"text": "kp, command per unit of z"}, "range": [0, float(found.kp[-1])]},
        "yaxis": {"range": [0, float(found.ki[-1])]},
    }
    unit = "ki over kp; shaded: stable, dashed: Ms 1.4, dotted: Ms 2, dot: the loop"
    title = f"{each.name}: stable gains"
    return _figure(f"control-stability-{index}", title, unit, [(each, analysis)], data, layout)


def _figure(
    id_: str, title: str, unit: str, loops: Linear, data: list[dict[str, Any]], layout: dict[str, Any]
) -> Figure:
    arms = tuple(dict.fromkeys(each.arm.name for each, _ in loops))
    drawn = Figure(id=id_, title=title, unit=unit, data=data, layout=layout, arms=arms)
    return styled(drawn, missing="None of these loops is stable on its plant.")


def _length(loops: Linear) -> int:
    return max(horizon(analysis) for _, analysis in loops)


def _margins_in_words(loops: Linear, which: str) -> str:
    if len(loops) > 1:
        return ""
    margins = loops[0][1].margins
    if not margins.stable:
        return "; not stable"
    if which == "gain":
        return f"; gain margin {margins.gain_margin:.2f}"
    return f"; phase margin {margins.phase_margin_degrees:.0f}°, delay margin {margins.delay_margin:.1f} iterations"


def _frequency_axis() -> dict[str, Any]:
    return {"xaxis": {**_decades(), "title": {"text": "radians an iteration"}}}


def _decades() -> dict[str, Any]:
    """A logarithmic axis that is labelled at powers of ten only."""
    return {"type": "log", "exponentformat": "power", "dtick": 1}


def _level(value: float) -> dict[str, Any]:
    line = {"color": "@muted", "width": 1, "dash": "2px,3px"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value, "line": line}


def _line(
    x: ArrayLike, y: ArrayLike, shade: str, *, name: str, width: float = 2.0, dash: str = "solid"
) -> dict[str, Any]:
    return {
        "x": numbers(np.asarray(x, dtype=float)),
        "y": numbers(np.asarray(y, dtype=float)),
        "type": "scatter",
        "mode": "lines",
        "name": html.escape(name),  # Plotly reads tags in names
        "line": {"color": shade, "width": width, "dash": dash},
        "hovertemplate": "%{y:.3f}",
    }
