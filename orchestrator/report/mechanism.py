"""Figures of the entropy mechanism: reward against entropy, and predicted against measured changes."""

from __future__ import annotations

from typing import Any

import numpy as np

from controllers.quality.entropy_law import EARLY_FRACTION, EntropyLaw
from orchestrator.comparison import Summary, changes, entropy_and_reward
from orchestrator.comparison.comparison import Comparison
from orchestrator.report.figures import colour, most_points
from orchestrator.report.plot_style import Figure, numbers, padded, styled, thinned
from orchestrator.report.summary_cells import number
from orchestrator.storage.run_data import ArmRecords, Array, CampaignRecords


def laws(comparison: Comparison) -> list[Figure]:
    """Reward against exp(H) with the fitted law and its ceiling, one figure an arm with common axes."""
    campaign = comparison.campaign
    points = [entropy_and_reward(arm.shown) for arm in campaign.arms]
    if not any(entropy.size for entropy, _ in points):
        return []
    x_range = padded(np.exp(np.concatenate([[0.0], *(entropy for entropy, _ in points)])))
    y_range = padded(np.concatenate([reward for _, reward in points]))
    return [
        _law(campaign, arm, law, summary, pairs, x_range, y_range)
        for arm, law, summary, pairs in zip(
            campaign.arms, comparison.laws, comparison.summaries, points, strict=True
        )
    ]


def predictions(comparison: Comparison) -> list[Figure]:
    """Measured against predicted change of entropy in each iteration, one figure an arm."""
    campaign = comparison.campaign
    drawn = [
        _prediction(campaign, arm, summary)
        for arm, summary in zip(campaign.arms, comparison.summaries, strict=True)
    ]
    return drawn if any(not figure.missing for figure in drawn) else []


def _law(
    campaign: CampaignRecords,
    arm: ArmRecords,
    law: EntropyLaw,
    summary: Summary,
    pairs: tuple[Array, Array],
    x_range: list[float],
    y_range: list[float],
) -> Figure:
    entropy, reward = pairs
    shade = colour(campaign, arm.name)
    kept = thinned(entropy.size, most_points(campaign))
    data = [_scatter(np.exp(entropy[kept]), reward[kept], shade, "exp(H) %{x:.3f}<br>reward %{y:.3f}")]
    shapes = []
    if np.isfinite(law.a):
        ends = np.array([1.0, np.exp(law.highest_nats)])
        line = {"color": "@ink", "width": 1.5, "dash": "solid" if law.warning is None else "dot"}
        straight = {
            "x": numbers(ends),
            "y": numbers(law.b - law.a * ends),
            "type": "scatter",
            "mode": "lines",
        }
        data.append(straight | {"line": line, "hoverinfo": "skip"})
        ceiling = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": law.ceiling, "y1": law.ceiling}
        shapes = [ceiling | {"line": {"color": shade, "width": 1.5, "dash": "5px,4px"}}]
    figure = Figure(
        id=f"law-{campaign.arms.index(arm)}",
        title="R = b − a·exp(H)",
        unit=_law_in_words(law, summary),
        arms=(arm.name,),
        owner=arm.name,
        data=data,
        layout={
            "shapes": shapes,
            "hovermode": "closest",
            "xaxis": {"title": {"text": "exp(entropy)"}, "range": x_range},
            "yaxis": {"range": y_range},
        },
    )
    return styled(figure, missing=f"{arm.name} has not recorded reward and entropy.")


def _law_in_words(law: EntropyLaw, summary: Summary) -> str:
    if law.warning is not None:
        return f"not identified: {law.warning}"
    words = f"ceiling {law.ceiling:.3f} ± {law.ceiling_error:.3f}, a {law.a:.3f} ± {law.a_error:.3f}, R² {law.r_squared:.2f}"
    if summary.law_error.num:
        words += (
            f"; the first {100 * EARLY_FRACTION:.0f} % predict the rest within {number(summary.law_error)}"
        )
    return words


def _prediction(campaign: CampaignRecords, arm: ArmRecords, summary: Summary) -> Figure:
    pairs = [changes(run) for run in arm.shown]
    x, y = (np.concatenate([pair[i] for pair in pairs]) if pairs else np.array([]) for i in range(2))
    kept = thinned(x.size, most_points(campaign))
    correlation = number(summary.change_correlation, 2)
    figure = Figure(
        id=f"change-{campaign.arms.index(arm)}",
        title="Change of entropy",
        unit=f"nats per token, measured against predicted; correlation {correlation}",
        arms=(arm.name,),
        owner=arm.name,
        data=[
            _scatter(x[kept], y[kept], colour(campaign, arm.name), "predicted %{x:.3g}<br>measured %{y:.3f}")
        ],
        layout={
            "hovermode": "closest",
            "shapes": [_axis("x"), _axis("y")],
            "xaxis": {"title": {"text": "predicted, nats per unit step"}},
        },
    )
    return styled(figure, missing=f"{arm.name} has not recorded predicted changes of entropy.")


def _scatter(x: Array, y: Array, shade: str, hover: str) -> dict[str, Any]:
    return {
        "x": numbers(x),
        "y": numbers(y),
        "type": "scatter",
        "mode": "markers",
        "marker": {"size": 5, "color": f"{shade}/0.55"},
        "hovertemplate": f"{hover}<extra></extra>",
    }


def _axis(letter: str) -> dict[str, Any]:
    """The line where one change is zero: points in two opposite quarters were foreseen in sign."""
    other = "y" if letter == "x" else "x"
    ends = {f"{letter}0": 0, f"{letter}1": 0, f"{other}0": 0, f"{other}1": 1, f"{other}ref": "paper"}
    return {"type": "line", "line": {"color": "@muted", "width": 1}, **ends}
