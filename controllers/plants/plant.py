"""The plant: the response of entropy to a command, as a small linear model with its uncertainty.

To first order an update moves entropy by a drift, which the RL gradient makes, and by a push, which the
actuator makes (shared with `controllers.plants.simulated_plants.IntegratingPlant`, whose numbers are made up).  Here
the numbers are measured: see `controllers.identification`.  Numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, inf, isfinite, log

import numpy as np
from numpy.typing import ArrayLike, NDArray

from controllers.parts.coordinates import COORDINATES, FLOOR_NATS, Coordinates

MOST_PARAMETERS = 100
LONGEST_DELAY = 1000
"""[iterations]"""
LARGEST_VARIANCE = 1e100
ROUNDING = 1e-8
"""Share of a matrix's largest entry by which computed ones are not quite symmetric or semi-definite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """z_t = Σ_i a_i z_{t−i} + Σ_j b_j u_{t−delay−j} + drift + ε_t,   ε_t ~ N(0, noise_std²), independent

    i runs from 1 to len(a), j from 0 to len(b) − 1 (ARX).  z is the measurement in ``coordinates``: y in
    ``absolute``, y / level_nats in ``relative``, ln y in ``log``, so that r − z is the error as a law in
    the same coordinates sees it.  u_t is commanded once y_t has been read, so the shortest delay is 1.
    """

    coordinates: Coordinates
    """In which z is linear, and its unit."""

    a: tuple[float, ...]
    """Memory of the measurement [1]; they add up to 1 when it integrates."""

    b: tuple[float, ...]
    """Push of the command [unit of z per actuator's unit]."""

    delay: int
    """Iterations from a command to its first effect; 1 is the next reading."""

    drift: float
    """What moves z by itself at u = 0 and z = 0 [unit of z per iteration]."""

    noise_std: float
    """Standard deviation of what the model does not explain in one iteration [unit of z]."""

    level_nats: float
    """Mean measurement where it was identified [nats/token]: what ``relative`` is relative to."""

    covariance: tuple[tuple[float, ...], ...] = ()
    """Covariance of the estimates, in the order (a…, b…, drift); empty for a plant that is known exactly."""

    num_samples: int = 0
    """Rows that it was fitted to; 0 for a plant that is known exactly."""

    def __post_init__(self) -> None:
        if self.coordinates not in COORDINATES:
            raise ValueError(f"coordinates must be one of {', '.join(COORDINATES)}, got {self.coordinates!r}")
        if not self.b:
            raise ValueError("b must have at least one coefficient, got none")
        if self.delay < 1:
            raise ValueError(f"delay must be >= 1, got {self.delay}")
        if not all(isfinite(value) for value in (*self.a, *self.b, self.drift)):
            raise ValueError(f"a, b and drift must be finite, got {self.a}, {self.b}, {self.drift}")
        if not 0 <= self.noise_std < inf:
            raise ValueError(f"noise_std must be >= 0 and finite, got {self.noise_std}")
        if not 0 < self.level_nats < inf:
            raise ValueError(f"level_nats must be > 0 and finite, got {self.level_nats}")
        size = len(self.parameters)
        if not 0 < size <= MOST_PARAMETERS or self.delay > LONGEST_DELAY:
            raise ValueError(
                f"a and b must have at most {MOST_PARAMETERS} coefficients and delay be at most {LONGEST_DELAY}, "
                f"got {size - 1} and {self.delay}; identify a smaller plant"
            )
        if self.num_samples < 0:
            raise ValueError(f"num_samples must be >= 0, got {self.num_samples}")
        if self.covariance:
            _require_covariance(self.covariance, size)

    @property
    def parameters(self) -> tuple[float, ...]:
        """(a…, b…, drift)."""
        return (*self.a, *self.b, self.drift)

    @property
    def dead_time(self) -> int:
        """Iterations from a command to the first reading that it moves: ``delay``, and zeros that lead ``b``."""
        return self.delay + next((j for j, b in enumerate(self.b) if b != 0), len(self.b))

    def in_run(self, wait: int) -> Plant:
        """The same where a command waits for ``wait`` iterations: with a delay that has these in it.

        A plant does not say which wait its delay has in it; one that is too short for this wait is of none.
        """
        return replace(self, delay=self.delay + max(0, 1 + wait - self.dead_time))

    @property
    def standard_errors(self) -> tuple[float, ...]:
        """Standard errors of the parameters, in their order; 0 if they are known exactly."""
        if not self.covariance:
            return (0.0,) * len(self.parameters)
        return tuple(float(error) for error in np.sqrt(np.diag(np.array(self.covariance))))

    @property
    def poles(self) -> NDArray[np.complex128]:
        """Roots of zⁿ − a_1 zⁿ⁻¹ − … − a_n, largest first; inside the unit circle it is stable."""
        roots = np.roots([1.0, *(-value for value in self.a)])
        return roots[np.argsort(-np.abs(roots))].astype(np.complex128)

    @property
    def zeros(self) -> NDArray[np.complex128]:
        """Roots of b_0 zᵐ + … + b_m; a real one above 1 means that the first answer has the wrong sign."""
        return np.roots(np.trim_zeros(np.array(self.b), "f")).astype(np.complex128)

    @property
    def static_gain(self) -> float:
        """Change of z in the end for one unit of command; infinite for a plant that integrates."""
        rest = 1.0 - sum(self.a)
        return sum(self.b) / rest if rest else inf * np.sign(sum(self.b))

    def holding_command(self, r_nats: float) -> float:
        """Command that keeps the measurement at ``r_nats`` on average [actuator's unit]."""
        return (self.coordinate(r_nats) * (1.0 - sum(self.a)) - self.drift) / sum(self.b)

    def next(self, z: Sequence[float], u: Sequence[float]) -> float:
        """The next z without noise, from the past of z and of u, both newest first.

        Newest first: ``z[0]`` is z_{t−1} and ``u[0]`` is u_{t−1}; as far back as the model looks.
        """
        memory = sum(a * past for a, past in zip(self.a, z, strict=False))
        push = sum(b * past for b, past in zip(self.b, u[self.delay - 1 :], strict=False))
        return memory + push + self.drift

    def response(self, omega: ArrayLike) -> NDArray[np.complex128]:
        """Frequency response from u to z at ``omega`` [radians an iteration]."""
        q = np.exp(-1j * np.asarray(omega, dtype=float))
        push = sum(b * q ** (self.delay + j) for j, b in enumerate(self.b))
        memory = sum((a * q ** (i + 1) for i, a in enumerate(self.a)), np.zeros_like(q))
        return np.asarray(push / (1 - memory), dtype=np.complex128)

    def coordinate(self, y_nats: float) -> float:
        """z of a measurement [nats/token]."""
        if self.coordinates == "log":
            return log(max(y_nats, FLOOR_NATS))
        return y_nats / self.level_nats if self.coordinates == "relative" else y_nats

    def nats(self, z: float) -> float:
        """The measurement that has this z [nats/token]; never below 0."""
        if self.coordinates == "log":
            return exp(min(z, 700.0))
        return max(0.0, z * self.level_nats if self.coordinates == "relative" else z)

    def drawn(self, rng: np.random.Generator) -> Plant:
        """Another plant that the same records could have come from: parameters from their estimate's law."""
        if not self.covariance:
            return self
        drawn = rng.multivariate_normal(self.parameters, self.covariance)
        na, nb = len(self.a), len(self.b)
        return replace(
            self,
            a=tuple(float(value) for value in drawn[:na]),
            b=tuple(float(value) for value in drawn[na : na + nb]),
            drift=float(drawn[-1]),
            covariance=(),
        )


def _require_covariance(rows: Sequence[Sequence[float]], size: int) -> None:
    """Make sure that a matrix is the covariance of ``size`` estimates, as far as rounding lets it be one."""
    if any(len(row) != size for row in (rows, *rows)):
        raise ValueError(f"covariance must be {size} × {size}, one row a parameter, got another shape")
    matrix = np.array(rows)
    largest = float(np.abs(matrix).max())
    if not largest < LARGEST_VARIANCE:
        raise ValueError(f"covariance must be finite and below {LARGEST_VARIANCE:g}, got {largest:g}")
    if np.abs(matrix - matrix.T).max() > ROUNDING * largest:
        raise ValueError("covariance must be symmetric, got another matrix; identify the plant again")
    lowest = float(np.linalg.eigvalsh((matrix + matrix.T) / 2)[0])
    if lowest < -ROUNDING * largest:
        raise ValueError(
            f"covariance must be positive semi-definite, got an eigenvalue of {lowest:.3g}; identify the plant again"
        )
