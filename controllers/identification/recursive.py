"""Recursive least squares with forgetting, in plain floats: identification while the loop runs.

    target_t = φ_tᵀ θ + noise,   noise ~ N(0, noise_std²)

    g = P φ      s = noise_std² + φᵀ g      θ⁺ = θ + g (target − φᵀ θ) / s      P⁺ = (P − g gᵀ / s) / λ

P is the covariance of the estimate, started from the prior's.  λ = 1 is least squares over all rows, the
prior counting as if it had been seen first; λ < 1 gives a row of age k the weight λᵏ, and the prior too.

While the command does not move, no information comes in, forgetting continues, P grows without bound, and the
first movement after a calm upsets the estimate: estimator wind-up (Åström and Wittenmark, Adaptive
Control, chapter 11).  Forgetting therefore waits (λ = 1) whenever it would leave a parameter less certain than
it was at the start.  Directional forgetting, the other common remedy, was tried: at equal noise of the
estimate it followed a change no faster, and its memory in rows is not 1 / (1 − λ).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from operator import mul
from typing import NamedTuple

from controllers.base import State


class RLSState(NamedTuple):
    """An estimate of ``p`` parameters and how uncertain it is."""

    estimate: tuple[float, ...]
    """θ, (p,) [each parameter's unit]."""
    covariance: tuple[tuple[float, ...], ...]
    """P, (p, p), row by row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RLS:
    """Follows the parameters of a linear regression, one row a step.

    A ``Plant``'s ``parameters``, ``standard_errors`` and ``noise_std`` are a natural start.  Regressors
    then are (z_{t−1}…, u_{t−delay}…, 1) and the target is z_t.
    """

    prior: tuple[float, ...]
    """Estimate before the first row [each parameter's unit]."""

    prior_std: tuple[float, ...]
    """How far the prior may be off, one standard deviation each [each parameter's unit]; 0 fixes one."""

    noise_std: float
    """Standard deviation of the target around the model [the target's unit]."""

    forgetting: float = 0.99
    """Weight λ left of old rows after a new one, in (0, 1].  Remembers about 1 / (1 − λ) rows; 1 never
    forgets."""

    def __post_init__(self) -> None:
        if not self.prior or not all(isfinite(value) for value in self.prior):
            raise ValueError(f"prior must be one finite value or more, got {self.prior}")
        if len(self.prior_std) != len(self.prior):
            raise ValueError(
                f"prior_std must have one value for each of the {len(self.prior)} of prior, "
                f"got {len(self.prior_std)}"
            )
        if not all(0 <= value < inf for value in self.prior_std):
            raise ValueError(f"prior_std must be >= 0 and finite, got {self.prior_std}")
        if not 0 < self.noise_std < inf:
            raise ValueError(f"noise_std must be > 0 and finite, got {self.noise_std}")
        if not 0 < self.forgetting <= 1:
            raise ValueError(f"forgetting must be in (0, 1], got {self.forgetting}")

    def init(self) -> RLSState:
        """State before the first row: the prior."""
        size = range(len(self.prior))
        diagonal = [std**2 for std in self.prior_std]
        covariance = tuple(tuple(diagonal[i] if i == j else 0.0 for j in size) for i in size)
        return RLSState(estimate=tuple(float(value) for value in self.prior), covariance=covariance)

    def step(self, state: State, regressors: Sequence[float], target: float) -> RLSState:
        """Take one row; give the new state.  A row that is not finite changes nothing."""
        last = RLSState(*state)
        estimate, covariance = last
        if len(regressors) != len(estimate):
            raise ValueError(f"regressors must be {len(estimate)}, one a parameter, got {len(regressors)}")
        if not (isfinite(target) and all(map(isfinite, regressors))):
            return last
        g = [_dot(row, regressors) for row in covariance]
        s = self.noise_std**2 + _dot(g, regressors)
        gain = (target - _dot(estimate, regressors)) / s
        moved = tuple([value + gain * each for value, each in zip(estimate, g, strict=True)])
        shrunk = [  # product before quotient: symmetric to the last bit, else 1 / λ blows up what is not
            [value - left * right / s for value, right in zip(row, g, strict=True)]
            for row, left in zip(covariance, g, strict=True)
        ]
        forgetting = self._forgetting_allowed(shrunk)
        return RLSState(
            estimate=moved, covariance=tuple([tuple([value / forgetting for value in row]) for row in shrunk])
        )

    def estimate(self, state: State) -> tuple[float, ...]:
        """The parameters now."""
        return RLSState(*state).estimate

    def standard_errors(self, state: State) -> tuple[float, ...]:
        """One standard deviation of each parameter, as good as ``noise_std`` is."""
        return tuple(sqrt(max(0.0, row[i])) for i, row in enumerate(RLSState(*state).covariance))

    def _forgetting_allowed(self, covariance: list[list[float]]) -> float:
        """λ, or 1 where λ would leave a parameter less certain than at the start."""
        for i, (row, std) in enumerate(zip(covariance, self.prior_std, strict=True)):
            if row[i] > self.forgetting * std * std:
                return 1.0
        return self.forgetting


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return float(sum(map(mul, left, right)))  # half the time of a generator
