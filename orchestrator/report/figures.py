"""Builds the figures of a campaign's page; a figure without data is a sentence that says what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import numpy as np

from orchestrator.comparison import Curve, curve
from orchestrator.report.plot_style import (
    Figure,
    colour_index,
    line,
    numbers,
    padded,
    smooth,
    styled,
    thinned,
)
from orchestrator.storage.run_data import (
    ArmRecords,
    Array,
    CampaignRecords,
    RunRecords,
    entropy_setpoint,
    loop_names,
    terms,
)

DASHES = ("dot", "dash", "longdashdot", "dashdot")
TIME_SCALE = [[0.0, "@time0"], [0.33, "@time1"], [0.67, "@time2"], [1.0, "@time3"]]


def colour(campaign: CampaignRecords, arm: str) -> str:
    """The token of an arm's colour, the same in every figure."""
    return f"@arm{colour_index(_names(campaign), arm)}"


def entropy(campaign: CampaignRecords) -> Figure:
    """Entropy of every arm against its setpoint."""
    data, curves = [], []
    for number, arm in enumerate(campaign.arms):
        curves.append(curve(arm.shown, "entropy"))
        data += line(curves[-1], colour(campaign, arm.name), arm.name, arms=[number])
    targets = [np.asarray(trace["y"]) for trace in _setpoints(campaign)]
    return styled(
        Figure(
            id="entropy",
            title="Entropy against setpoint",
            unit="nats per token",
            data=data + _setpoints(campaign),
            layout={"yaxis": {"range": in_sight(curves, np.concatenate([[0.0], *targets]), low=0.0)}},
            arms=_names(campaign),
        ),
        missing="No run has measured its entropy yet.",
    )


def commands(campaign: CampaignRecords) -> list[Figure]:
    """Command of every loop, with the terms of its law: one figure a loop."""
    return [
        _command(campaign, arm, loop)
        for arm in campaign.arms
        for loop in (loop_names(arm.shown[0]) if arm.shown else [])
    ]


def pass_rate(campaign: CampaignRecords) -> Figure:
    """Share of correct responses in training."""
    data, curves = [], []
    for number, arm in enumerate(campaign.arms):
        curves.append(curve(arm.shown, "pass_rate"))
        data += line(curves[-1], colour(campaign, arm.name), arm.name, arms=[number])
    return styled(
        Figure(
            id="pass-rate",
            title="Pass rate in training",
            unit="share of sampled responses",
            data=data,
            layout={"yaxis": {"range": in_sight(curves, low=0.0, high=1.0)}},
            arms=_names(campaign),
        ),
        missing="No run has recorded a pass rate.",
    )


def held_out(campaign: CampaignRecords, k: int) -> Figure:
    """Held-out greedy pass rate, and pass@k as open markers."""
    data, curves = [], []
    for index, arm in enumerate(campaign.arms):
        shade = colour(campaign, arm.name)
        greedy = curve(arm.shown, "eval/pass_at_1", "eval")
        curves.append(greedy)
        data += line(greedy, shade, f"{arm.name} greedy", markers="circle", arms=[index])
        if k:
            sampled, name = curve(arm.shown, f"eval/pass_at_{k}", "eval"), f"{arm.name} pass@{k}"
            curves.append(sampled)
            data += line(sampled, shade, name, dash="dot", width=1.4, markers="circle-open", arms=[index])
    unit = f"greedy solid, pass@{k} dotted" if k else "greedy"
    return styled(
        Figure(
            id="held-out",
            title="Held-out problems solved",
            unit=unit,
            data=data,
            layout={"yaxis": {"range": in_sight(curves, low=0.0, high=1.0)}},
            arms=_names(campaign),
        ),
        missing="No run has been evaluated on held-out problems.",
    )


def in_sight(
    curves: Sequence[Curve], others: Array | None = None, *, low: float = -inf, high: float = inf
) -> list[float] | None:
    """Range of the means and of bands up to half as wide again; None without a curve.

    The interval of two seeds is nine standard deviations wide on each side: drawn whole it would hide the means.
    ``low`` and ``high`` are what no value can be beyond.
    """
    if not any(each.steps.size for each in curves):
        return None
    means = np.concatenate([each.mean for each in curves] + ([] if others is None else [others]))
    room = 0.5 * float(np.ptp(means)) or 0.1
    bands = np.concatenate([end for each in curves for end in (each.low, each.high)])
    seen = np.concatenate([means, bands.clip(means.min() - room, means.max() + room)])
    return padded(seen.clip(low, high))


def trajectories(campaign: CampaignRecords) -> list[Figure]:
    """Reward against entropy, one figure an arm with common axes; time is the colour."""
    drawn = [(arm, _paths(arm, most_points(campaign))) for arm in campaign.arms]
    points = [path for _, paths in drawn for path in paths if path[0].size]
    if not points:
        return []
    x_range = padded(np.concatenate([x for x, _, _ in points]))
    y_range = padded(np.concatenate([y for _, y, _ in points]))
    last_step = max(int(steps[-1]) for _, _, steps in points)
    return [_trajectory(campaign, arm, paths, x_range, y_range, last_step) for arm, paths in drawn]


def most_points(campaign: CampaignRecords) -> int:
    """Most points of a scatter of all seeds of an arm; fewer with many arms, so that the page opens."""
    return min(1500, max(300, 15_000 // max(1, len(campaign.arms))))


def _names(campaign: CampaignRecords) -> tuple[str, ...]:
    return tuple(arm.name for arm in campaign.arms)


def _setpoints(campaign: CampaignRecords) -> list[dict[str, Any]]:
    """Setpoints of entropy in their arms' colours; arms that share one share a line."""
    sharing: dict[tuple[float, ...], tuple[Curve, list[int]]] = {}
    for number, arm in enumerate(campaign.arms):
        target = curve(arm.shown, entropy_setpoint, band=False)
        if target.steps.size:
            sharing.setdefault(tuple(target.mean.round(6)), (target, []))[1].append(number)
    traces = []
    for target, arms in sharing.values():
        first = campaign.arms[arms[0]].name
        shade, name = (
            ("@ink", "setpoint") if len(arms) > 1 else (colour(campaign, first), f"{first} setpoint")
        )
        traces += line(target, shade, name, dash="5px,4px", width=1.4, band=False, arms=arms)
    return traces


def last_iteration(campaign: CampaignRecords) -> int:
    """The last training step that any run recorded; 0 without any."""
    return max((int(run.train.steps[-1]) for run in campaign.runs if run.train.steps.size), default=0)


def _command(campaign: CampaignRecords, arm: ArmRecords, loop: str) -> Figure:
    runs = [run for run in arm.shown if loop in loop_names(run)]
    shade = colour(campaign, arm.name)
    data, shares = [], []
    for index, term in enumerate(terms(runs[0], loop)):
        dash = DASHES[index % len(DASHES)]
        share = curve(runs, f"loop/{loop}/term/{term}", band=False)
        if not share.mean.any():
            continue  # a gain of zero
        shares.append(share.mean)
        data += line(share, "@muted", term, dash=dash, width=1.3, band=False, legend=True)
    command = curve(runs, f"loop/{loop}/u")
    data += line(command, shade, "command u", width=2.2, legend=True)
    settings = (runs[0].info.config.get("loops") or {}).get(loop) or {}
    limits = settings.get("limits") or []
    shapes = [_limit(value) for value in limits] + _saturated(runs, loop)
    actuator = (settings.get("actuator") or {}).get("kind", loop)
    figure = Figure(
        id=f"command-{campaign.arms.index(arm)}-{loop}",
        title=f"{arm.name}: command on {actuator}",
        unit="actuator’s unit",
        owner=arm.name,
        data=data,
        layout={
            "shapes": shapes,
            "showlegend": True,
            "yaxis": {"range": _command_range(command, shares, limits)},
        },
    )
    return styled(figure, missing=f"The loop {loop} has recorded no command.")


def _command_range(command: Curve, shares: Sequence[Array], limits: Sequence[float]) -> list[float] | None:
    """Room for the command and the limits it comes near; a term that winds up may leave the picture."""
    if not command.steps.size:
        return None
    low, high = float(command.mean.min()), float(command.mean.max())
    span = high - low or abs(high) or 1.0
    near = [limit for limit in limits if low - span < limit < high + span]
    values = np.concatenate([[low, high], command.low, command.high, near, *shares])
    return padded(values.clip(low - span, high + span))


def _limit(value: float) -> dict[str, Any]:
    line = {"color": "@muted", "width": 1, "dash": "2px,3px"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value, "line": line}


def _saturated(runs: Sequence[RunRecords], loop: str) -> list[dict[str, Any]]:
    """Shading where at least half of the seeds had the command at a limit."""
    share = curve(runs, f"loop/{loop}/saturated", band=False)
    at_limit = np.concatenate([[False], share.mean >= 0.5, [False]]).astype(int)
    starts, ends = np.flatnonzero(np.diff(at_limit) == 1), np.flatnonzero(np.diff(at_limit) == -1)
    return [
        {
            "type": "rect",
            "yref": "paper",
            "x0": float(share.steps[start]) - 0.5,
            "x1": float(share.steps[end - 1]) + 0.5,
            "y0": 0,
            "y1": 1,
            "fillcolor": "@ink/0.07",
            "line": {"width": 0},
            "layer": "below",
        }
        for start, end in zip(starts, ends, strict=True)
    ]


def _paths(arm: ArmRecords, most: int) -> list[tuple[Array, Array, Array]]:
    """Entropy, reward and step of each seed, smoothed, without the gaps."""
    paths = []
    for run in arm.shown:
        x, y = run.train.get("entropy"), run.train.get("reward")
        known = np.isfinite(x) & np.isfinite(y)
        steps = run.train.steps[known].astype(float)
        kept = thinned(steps.size, max(60, most // len(arm.shown)))
        paths.append((smooth(x[known])[kept], smooth(y[known])[kept], smooth(steps)[kept]))
    return paths


def _trajectory(
    campaign: CampaignRecords,
    arm: ArmRecords,
    paths: list[tuple[Array, Array, Array]],
    x_range: list[float],
    y_range: list[float],
    last_step: int,
) -> Figure:
    data: list[dict[str, Any]] = []
    for x, y, steps in paths:
        marker = {
            "size": 6,
            "color": numbers(steps),
            "colorscale": TIME_SCALE,
            "cmin": 0,
            "cmax": last_step,
        }
        hover = "iteration %{marker.color:.0f}<br>entropy %{x:.3f}<br>reward %{y:.3f}<extra></extra>"
        thin = {"color": "@muted/0.5", "width": 1}
        path = {"x": numbers(x), "y": numbers(y), "type": "scatter", "mode": "lines+markers"}
        data.append({**path, "line": thin, "marker": marker, "hovertemplate": hover})
    target = curve(arm.shown, entropy_setpoint, band=False).mean
    shapes = []
    if target.size:
        dashed = {"color": colour(campaign, arm.name), "width": 1.5, "dash": "5px,4px"}
        end = float(target[-1])
        shapes = [{"type": "line", "yref": "paper", "x0": end, "x1": end, "y0": 0, "y1": 1, "line": dashed}]
    figure = Figure(
        id=f"trajectory-{campaign.arms.index(arm)}",
        title="Reward",
        unit="against entropy",
        arms=(arm.name,),
        owner=arm.name,
        data=data,
        layout={
            "shapes": shapes,
            "hovermode": "closest",
            "xaxis": {"title": {"text": "entropy, nats per token"}, "range": x_range},
            "yaxis": {"range": y_range},
        },
    )
    missing = f"{arm.name} has not recorded reward and entropy."
    return styled(figure, missing=missing)
