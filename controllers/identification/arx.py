"""ARX with delay by least squares, pooled over recordings.

    z_t = Σ_i a_i z_{t−i} + Σ_j b_j u_{t−delay−j} + drift + ε_t      θ̂ = (ΦᵀΦ)⁻¹ Φᵀ z      cov θ̂ = s² (ΦᵀΦ)⁻¹

with s² = Σ ε̂² / (n − p) (Ljung, System Identification, 2nd edition, chapters 4 and 7).  In closed loop this
direct method is consistent if ε is white, so the order has to be high enough for the noise as well: a
reading is a mean over a batch and carries noise of its own, which on an integrating plant makes z an
ARMAX process, and its a_i the first of a series that fades.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from controllers.identification.recordings import Array, Recording, mean_level
from controllers.identification.regression import Rows, condition_number, rows_of, solve
from controllers.parts.coordinates import Coordinates
from controllers.plants.plant import Plant


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Order:
    """Size of an ARX model."""

    na: int
    """Past measurements that it looks at."""

    nb: int
    """Past commands that it looks at."""

    delay: int
    """Iterations from a command to the first effect."""

    def __post_init__(self) -> None:
        if self.na < 0:
            raise ValueError(f"na must be >= 0, got {self.na}")
        if self.nb < 1:
            raise ValueError(f"nb must be >= 1, got {self.nb}")
        if self.delay < 1:
            raise ValueError(f"delay must be >= 1 (a command follows its reading), got {self.delay}")

    @property
    def z_lags(self) -> range:
        """Ages of the past measurements."""
        return range(1, self.na + 1)

    @property
    def u_lags(self) -> range:
        """Ages of the commands."""
        return range(self.delay, self.delay + self.nb)

    @property
    def oldest(self) -> int:
        """Iterations that it looks back."""
        return max(self.na, self.delay + self.nb - 1)

    @property
    def num_slopes(self) -> int:
        """Parameters but for the drift."""
        return self.na + self.nb

    def __str__(self) -> str:
        return f"ARX({self.na}, {self.nb}, delay {self.delay})"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """A plant and the regression that it came from."""

    order: Order
    """Size of the model."""

    plant: Plant
    """The estimate, with its covariance."""

    rows: Rows
    """What it was fitted to."""

    residuals: Array
    """What the model does not explain of each row's target [unit of z]."""

    own_drift: bool
    """Whether every recording had a drift of its own; the plant's is their mean."""

    num_parameters: int
    """Slopes and drifts."""

    condition: float
    """Condition number of the slopes' columns, centred by recording and scaled to one size; 1 is best."""


def fit_arx(
    recordings: Sequence[Recording],
    order: Order,
    *,
    coordinates: Coordinates = "log",
    own_drift: bool = False,
) -> Fit:
    """The plant of that order which explains all recordings best.

    With ``own_drift`` every recording has a drift of its own (fixed effects) and the plant gets their mean:
    for runs whose gradient pulls at entropy differently while the actuator pushes alike.

    Raises ValueError where there are not more rows than parameters, or regressors are collinear.
    """
    level = mean_level(list(recordings))
    rows = rows_of(
        recordings, z_lags=order.z_lags, u_lags=order.u_lags, coordinates=coordinates, level_nats=level
    )
    phi = rows.design(own_drift)
    n, p = phi.shape
    if n <= p:
        raise ValueError(f"{order} needs more rows than its {p} parameters, got {n}")
    solved = solve(phi, rows.target)
    if solved.rank < p:
        raise ValueError(f"regressors of {order} must not be collinear, got rank {solved.rank} of {p}")
    num_drifts = p - order.num_slopes
    mean_drift = np.zeros((order.num_slopes + 1, p))
    mean_drift[: order.num_slopes, : order.num_slopes] = np.eye(order.num_slopes)
    mean_drift[-1, order.num_slopes :] = 1 / num_drifts
    parameters = mean_drift @ solved.parameters
    covariance = mean_drift @ solved.covariance @ mean_drift.T
    plant = Plant(
        coordinates=coordinates,
        a=tuple(float(value) for value in parameters[: order.na]),
        b=tuple(float(value) for value in parameters[order.na : -1]),
        delay=order.delay,
        drift=float(parameters[-1]),
        noise_std=float(np.sqrt(solved.sum_of_squares / (n - p))),
        level_nats=level,
        covariance=tuple(tuple(float(value) for value in row) for row in covariance),
        num_samples=n,
    )
    return Fit(
        order=order,
        plant=plant,
        rows=rows,
        residuals=solved.residuals,
        own_drift=own_drift,
        num_parameters=p,
        condition=condition_number(rows),
    )
