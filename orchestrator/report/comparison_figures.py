"""Figures of a comparison over all arms: performance profiles, and pass@k over k."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from orchestrator.comparison.comparison import Comparison
from orchestrator.comparison.learning import THRESHOLDS
from orchestrator.report.figures import colour
from orchestrator.report.plot_style import Figure, numbers, styled
from orchestrator.storage.run_data import Array


def profiles(comparison: Comparison) -> Figure:
    """Share of (run, part of the evaluation) that score above each threshold, of every arm."""
    data: list[dict[str, Any]] = []
    for index, profile in enumerate(comparison.profiles):
        if profile is not None:
            shade = colour(comparison.campaign, profile.arm)
            band = (profile.low, profile.high) if np.isfinite(profile.low).all() else None
            data += _with_band(THRESHOLDS, profile.share, band, shade, profile.arm, index)
    num_parts = max((profile.num_parts for profile in comparison.profiles if profile), default=0)
    metric = comparison.metric.removeprefix("eval/")
    figure = Figure(
        id="profiles",
        title="Performance profile",
        unit=f"share of seeds × {num_parts} parts of the held-out problems above each {metric}"
        if data
        else "",
        data=data,
        arms=_names(comparison),
        layout={"xaxis": {"title": {"text": metric}}, "yaxis": {"range": [0, 1.02]}},
    )
    return styled(
        figure, missing="The evaluation has no parts (domains or difficulties) that all arms share."
    )


def pass_at_k(comparison: Comparison) -> Figure:
    """Held-out pass@k over k at the end, of every arm."""
    data: list[dict[str, Any]] = []
    for index, (arm, found) in enumerate(zip(comparison.campaign.arms, comparison.pass_at_k, strict=True)):
        if found:
            ks = np.array(list(found), dtype=float)
            mean = np.array([estimate.mean for estimate, _ in found.values()])
            ends = np.array([[interval.low, interval.high] for _, interval in found.values()]).clip(0.0, 1.0)
            band = (ends[:, 0], ends[:, 1]) if np.isfinite(ends).all() else None
            data += _with_band(
                ks, mean, band, colour(comparison.campaign, arm.name), arm.name, index, "circle"
            )
    axis = {"title": {"text": "k, samples"}, "type": "log", "tickvals": comparison.ks, "dtick": None}
    figure = Figure(
        id="pass-at-k",
        title="pass@k",
        unit="share of held-out problems that k samples solve at least once, at the end",
        data=data,
        arms=_names(comparison),
        layout={"xaxis": axis},
    )
    return styled(figure, missing="No finished run was evaluated with several samples.")


def _names(comparison: Comparison) -> tuple[str, ...]:
    return tuple(arm.name for arm in comparison.campaign.arms)


def _with_band(
    x: Array,
    y: Array,
    band: tuple[Array, Array] | None,
    shade: str,
    name: str,
    arm: int,
    symbol: str = "",
) -> list[dict[str, Any]]:
    shared = {"type": "scatter", "meta": [arm]}
    traces: list[dict[str, Any]] = []
    if band is not None:
        low, high = band
        edges = {"x": numbers(np.append(x, x[::-1])), "y": numbers(np.append(high, low[::-1]))}
        fill = {"mode": "lines", "fill": "toself", "fillcolor": f"{shade}/0.16", "line": {"width": 0}}
        traces.append({**shared, **edges, **fill, "hoverinfo": "skip"})
    mean = {
        **shared,
        "x": numbers(x),
        "y": numbers(y),
        "mode": "lines+markers" if symbol else "lines",
        "name": html.escape(name),
        "line": {"color": shade, "width": 2},
        "hovertemplate": "%{y:.3f}",
    }
    if symbol:
        mean["marker"] = {"symbol": symbol, "size": 7, "color": shade}
    return [*traces, mean]
