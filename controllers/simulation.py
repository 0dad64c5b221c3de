"""A loop against a plant: what a few gains do, in a second and without a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from random import Random

from controllers.base import Trace
from controllers.loop import FeedbackLoop


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegratingPlant:
    """H⁺ = max(0, H + gain·u − drift − regulation·(H − equilibrium) + noise)

    The first-order picture of entropy under RL: each update's ΔH ≈ −η·Cov(log π, π·A) is a drift, the
    actuator adds a push, natural regulation is weak.  Not a language model: the gain of a real
    actuator changes with learning rate, entropy and batch.
    """

    gain: float
    """Entropy gained per unit of command in one iteration [nats/token per actuator's unit]."""

    drift: float
    """Entropy lost to the RL gradient in one iteration [nats/token]."""

    initial_nats: float
    """Entropy at iteration 0 [nats/token]."""

    regulation: float = 0.0
    """Share of the distance to equilibrium that closes by itself in one iteration; 0 integrates."""

    equilibrium_nats: float = 0.0
    """Where regulation leads without drift or command [nats/token]."""

    noise_std: float = 0.0
    """Standard deviation of the random part of one iteration's change [nats/token]."""

    def __post_init__(self) -> None:
        if not isfinite(self.gain):
            raise ValueError(f"gain must be finite, got {self.gain}")
        if not isfinite(self.drift):
            raise ValueError(f"drift must be finite, got {self.drift}")
        if not 0 <= self.initial_nats < inf:
            raise ValueError(f"initial_nats must be >= 0 and finite, got {self.initial_nats}")
        if not 0 <= self.regulation <= 1:
            raise ValueError(f"regulation must be in [0, 1], got {self.regulation}")
        if not 0 <= self.equilibrium_nats < inf:
            raise ValueError(f"equilibrium_nats must be >= 0 and finite, got {self.equilibrium_nats}")
        if not 0 <= self.noise_std < inf:
            raise ValueError(f"noise_std must be >= 0 and finite, got {self.noise_std}")

    def step(self, h: float, u: float, noise: float) -> float:
        """Entropy after one iteration; ``noise`` is a standard normal draw."""
        pull = self.regulation * (h - self.equilibrium_nats)
        return max(0.0, h + self.gain * u - self.drift - pull + self.noise_std * noise)


def simulate(loop: FeedbackLoop, plant: IntegratingPlant, num_iterations: int, seed: int = 0) -> list[Trace]:
    """Run the loop on the plant: measure, command, move, as in training."""
    random = Random(seed)
    state, h, traces = loop.init(), plant.initial_nats, []
    for t in range(num_iterations):
        state, trace = loop.step(state, {loop.sensor: h}, t)
        traces.append(trace)
        h = plant.step(h, trace.u, random.gauss(0.0, 1.0))
    return traces
