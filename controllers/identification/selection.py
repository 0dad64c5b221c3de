"""Selects the order: every small ARX model on the same rows, ranked by an information criterion.

The lowest BIC wins, but a model with white residuals wins over one without unless the evidence against it
is very strong (a difference above 10; Kass and Raftery, JASA 90, 1995): in closed loop a model whose
residuals follow each other is biased.  Whiteness alone would be a bad judge.  Long recordings of a plant that
is not quite linear reject it for every order, and then a much worse model may pass by luck.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import log
from typing import Literal

import numpy as np

from controllers.identification.arx import Order
from controllers.identification.recordings import Recording, mean_level
from controllers.identification.regression import rows_of, solve
from controllers.parts.coordinates import Coordinates

Criterion = Literal["bic", "aic"]

WHITE = 0.05
"""p-value of the Ljung–Box test from which on residuals count as white."""

CLOSE = 10.0
"""Difference of BIC (or AIC) up to which whiteness may decide."""

LEAST_ROWS_PER_PARAMETER = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One order and how it did."""

    order: Order
    """Its size."""

    bic: float
    """n ln(Σε²/n) + p ln n: lower is better, on the same rows only."""

    aic: float
    """n ln(Σε²/n) + 2 p."""


def order_candidates(
    recordings: Sequence[Recording],
    *,
    coordinates: Coordinates = "log",
    max_order: int = 8,
    max_delay: int = 3,
    own_drift: bool = False,
) -> list[Candidate]:
    """Every order up to the largest, lowest BIC first.

    na and nb run from 1 to ``max_order``, the delay from 1 to ``max_delay``.  Orders with fewer than ten
    rows for each parameter are left out, and so are those with collinear regressors; none may remain.
    """
    if max_order < 1:
        raise ValueError(f"max_order must be >= 1, got {max_order}")
    if max_delay < 1:
        raise ValueError(f"max_delay must be >= 1, got {max_delay}")
    widest = rows_of(
        recordings,
        z_lags=range(1, max_order + 1),
        u_lags=range(1, max_order + max_delay),
        coordinates=coordinates,
        level_nats=mean_level(list(recordings)),
    )
    phi = widest.design(own_drift)
    # the triangle of a QR stands for all rows: every candidate is then a problem of a few columns
    triangle = np.linalg.qr(np.column_stack([phi, widest.target])).R
    drifts = list(range(widest.slopes.shape[1], phi.shape[1]))
    n, candidates = widest.target.size, []
    sizes = range(1, max_order + 1)
    for na, nb, delay in product(sizes, sizes, range(1, max_delay + 1)):
        order = Order(na=na, nb=nb, delay=delay)
        columns = _columns(order, max_order) + drifts
        p = len(columns)
        if n < LEAST_ROWS_PER_PARAMETER * p:
            continue
        solved = solve(triangle[:, columns], triangle[:, -1])
        if solved.rank == p:
            fit = n * log(max(solved.sum_of_squares / n, 1e-300))
            candidates.append(Candidate(order=order, bic=fit + p * log(n), aic=fit + 2 * p))
    return sorted(candidates, key=lambda candidate: candidate.bic)


def chosen_order(
    candidates: Sequence[Candidate],
    whiteness: Callable[[Order], float],
    by: Criterion = "bic",
) -> Order:
    """Lowest criterion among the white ones close to the lowest, or the lowest itself.

    ``whiteness`` gives the p-value of an order's residuals being independent.
    """

    def value(candidate: Candidate) -> float:
        return candidate.bic if by == "bic" else candidate.aic

    ranked = sorted(candidates, key=value)
    for candidate in ranked:
        if value(candidate) > value(ranked[0]) + CLOSE:
            break
        if whiteness(candidate.order) >= WHITE:
            return candidate.order
    return ranked[0].order


def _columns(order: Order, max_order: int) -> list[int]:
    """Positions of the regressors of an order among those of all orders."""
    return [lag - 1 for lag in order.z_lags] + [max_order + lag - 1 for lag in order.u_lags]
