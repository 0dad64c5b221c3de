"""Tables of fitted laws: what reward costs in entropy, and where more training would end."""

from __future__ import annotations

from math import isfinite

from orchestrator.comparison.comparison import Comparison
from orchestrator.report.summary_cells import plain
from orchestrator.report.table import NONE, Cell, Head, Table


def entropy_law(comparison: Comparison) -> Table:
    """The law R = b − a·exp(H) of every arm, with its ceiling."""
    rows = []
    for arm, law in zip(comparison.campaign.arms, comparison.laws, strict=True):
        figures = [(law.a, law.a_error), (law.b, law.b_error), (law.ceiling, law.ceiling_error)]
        cells = [Cell(_with_error(*pair), *_around(*pair)) for pair in figures]
        cells += [Cell(plain(law.r_squared, 2), law.r_squared), Cell(law.warning or "identified")]
        rows.append((arm.name, tuple(cells)))
    heads = (
        Head("a", "reward for a unit of exp(H)"),
        Head("b", "value of the line at exp(H) = 0"),
        Head("ceiling", "b − a: the reward when all entropy is spent"),
        Head("R²"),
        Head("identified", "whether the law is identified, or why not"),
    )
    note = "Reward R of training responses against entropy H; ± one standard error, a lower bound."
    return Table(name="entropy_law", title="R = b − a·exp(H)", heads=heads, rows=tuple(rows), note=note)


def asymptote(comparison: Comparison) -> Table:
    """The sigmoid of reward over iterations of every arm, with the reward that it approaches."""
    rows = []
    for arm, fit in zip(comparison.campaign.arms, comparison.asymptotes, strict=True):
        cells = (
            Cell(plain(fit.start), fit.start),
            Cell(
                _with_error(fit.asymptote, fit.asymptote_error), *_around(fit.asymptote, fit.asymptote_error)
            ),
            Cell(plain(fit.midpoint, 0), fit.midpoint),
            Cell(plain(fit.efficiency, 2), fit.efficiency),
            Cell(fit.warning or "identified"),
        )
        rows.append((arm.name, cells))
    heads = (
        Head("start", "R0: reward of the first iterations"),
        Head("asymptote", "A: the reward that more training approaches"),
        Head("midpoint", "iterations until half of the way is done"),
        Head("steepness", "B: the larger, the more sudden"),
        Head("identified", "whether A is identified, or why not"),
    )
    note = "Reward of training responses over iterations, all seeds together; ± one standard error, a lower bound."
    title = "R = R0 + (A − R0) / (1 + (C_mid / C)^B)"
    return Table(name="asymptote", title=title, heads=heads, rows=tuple(rows), note=note)


def _with_error(value: float, error: float) -> str:
    return f"{value:.3f} ± {error:.3f}".replace("-", "−") if isfinite(value) else NONE


def _around(value: float, error: float) -> tuple[float, float, float]:
    return value, value - error, value + error
