"""One part of each family of one's own; CONTRIBUTING.md says what each interface asks for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from entrostat import (
    Advantage,
    Bounds,
    Ceiling,
    Command,
    Filter,
    Law,
    Metrics,
    Objective,
    Reference,
    RewardActuator,
    Sample,
    State,
    Terms,
    TokenBatch,
)


@dataclass(frozen=True, kw_only=True)
class Proportional(Law):
    """A command in proportion to the error, v = gain · e."""

    gain: float = 1.0
    """Command for an error of 1 nat/token."""

    def __post_init__(self) -> None:
        if not self.gain > 0:
            raise ValueError(f"gain must be above 0, got {self.gain}")

    def init(self) -> State:
        return ()

    def step(self, state: State, sample: Sample) -> tuple[State, Terms]:
        return (), {"p": self.gain * sample.e}


@dataclass(frozen=True, kw_only=True)
class Falling(Reference):
    """A target that halves every ``half_life`` iterations."""

    start_nats: float = 0.5
    """Target at iteration 0 [nats/token]."""

    half_life: int = 100
    """Iterations in which it halves."""

    def init(self) -> State:
        return ()

    def step(self, state: State, y: float, t: int, telemetry: Mapping[str, float]) -> tuple[State, float]:
        return (), self.start_nats * 0.5 ** (t / self.half_life)

    def bounds(self) -> tuple[float, float]:
        return 0.0, self.start_nats


@dataclass(frozen=True, kw_only=True)
class Cautious(Filter):
    """Moves a quarter of the way to each reading."""

    def init(self) -> State:
        return ()

    def step(self, state: State, reading: float) -> tuple[State, float]:
        before = state[0] if state else reading
        y = before + 0.25 * (reading - before)
        return (y,), y


@dataclass(frozen=True, kw_only=True)
class Generous(RewardActuator):
    """Lifts wrong responses to a share of the reward, so that right ones are reinforced less: entropy rises."""

    kind: ClassVar[str] = "generous"
    command: ClassVar[Command] = Command(low=0.0, high=1.0, neutral=0.0, unit="reward")

    def rewards(self, batch: TokenBatch, u: float) -> Tensor:
        return batch.rewards.clamp(min=u)


@dataclass(frozen=True, kw_only=True)
class Centred(Advantage):
    """Reward minus the mean of the batch."""

    def __call__(self, rewards: Tensor, group: Tensor) -> Tensor:
        return rewards - rewards.mean()


@dataclass(frozen=True, kw_only=True)
class Reinforce(Objective):
    """−A log π, with no ratio."""

    def loss(self, tokens: TokenBatch, bounds: Bounds | None = None) -> tuple[Tensor, Metrics]:
        return -tokens.advantages * tokens.logprobs, {
            "weighted": (tokens.advantages * tokens.logprobs).detach()
        }


@dataclass(frozen=True, kw_only=True)
class Talkative(Ceiling):
    """Responses are long."""

    reading: ClassVar[str] = "rollout/length"
    measures: ClassVar[tuple[str, str]] = ("mean length", " tokens")

    threshold: float = 6.0
    """Mean length that is too long [tokens]."""

    patience: int = 3
    """Iterations in a row."""

    action: str = "warn"
    """Response to a trip."""


def spread(batch: TokenBatch) -> float:
    """A sensor: how far the entropies of tokens lie apart, their standard deviation [nats]."""
    return batch.entropy.std(unbiased=False).item()
