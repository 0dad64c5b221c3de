"""Importance correction: responses come from the engine's distribution, and the gradient is that of the learner's.

Another implementation of the same weights gives other probabilities, and weights that are some updates old
differ even more.  The loss of a token is then weighted with

    w = π_learner / π_engine        at the start of the update, of the token or of its whole response,

which turns the expectation over the engine's samples into that over the learner's.  Bounds on the weight limit
its variance.  It is a constant of the update: the ratio that an objective clips stays
π / π_learner.  Both log-probabilities must be of the whole vocabulary at the same temperature, as ours are.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from policies.statistics.responses import response_sums

if TYPE_CHECKING:
    from torch import Tensor

Level = Literal["token", "sequence"]

LARGEST_LOG_RATIO = 20.0
"""The ratio of a long response overflows otherwise; every bound that is of use is far below exp(20)."""


def importance_ratio(
    logprobs: Tensor, behaviour_logprobs: Tensor, response: Tensor, num_responses: int, level: Level
) -> Tensor:
    """π_learner / π_engine [T]: of each token, or of the response that it belongs to (the product).

    Args:
        logprobs: [T] log π_learner of the sampled tokens at the start of the update.
        behaviour_logprobs: [T] log π_engine of the same.
        response: [T] int64, the response a token belongs to.
        num_responses: N.
        level: ``token`` is biased and of low variance; ``sequence`` is the exact weight of a response.
    """
    log_ratio = logprobs - behaviour_logprobs
    if level == "sequence":
        log_ratio = response_sums(log_ratio, response, num_responses)[response]
    return log_ratio.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp()


def truncated(ratio: Tensor, cap: float) -> Tensor:
    """min(ratio, cap).

    Truncated importance sampling, Ionides 2008 (J. Comput. Graph. Stat. 17, 295); between learner and rollout
    engine Yao et al. 2025 ("Your efficient RL framework secretly brings you off-policy RL training").
    """
    return ratio.clamp(max=cap)


def masked(ratio: Tensor, low: float, high: float) -> Tensor:
    """The ratio inside [low, high], and 0 outside: what is too far off teaches nothing.

    IcePop (Ring-1T, arXiv 2510.18855; INTELLECT-3, 2512.16144, equation 1) of tokens; of sequences Liu et al.
    2025 ("When speed kills stability: demystifying RL collapse from the training-inference mismatch").  What
    is masked stays in the denominator of the loss, as in those and in TRL; slime takes it out.
    """
    return torch.where((ratio >= low) & (ratio <= high), ratio, torch.zeros_like(ratio))


class Importance(ABC):
    """Weights on the loss of each token for what the engine's probabilities differ from the learner's."""

    kind: ClassVar[str]

    @abstractmethod
    def weights(
        self, logprobs: Tensor, behaviour_logprobs: Tensor, response: Tensor, num_responses: int
    ) -> tuple[Tensor, dict[str, float]] | None:
        """Weights [T] and metrics; None where there are none.  Arguments as of `importance_ratio`.

        ``ratio`` is the mean before the bounds, ``cut`` the share of tokens that a bound changed.
        """


@dataclass(frozen=True, kw_only=True)
class NoImportance(Importance):
    """No correction: the engine's probabilities are taken for the learner's."""

    kind: ClassVar[str] = "none"

    def weights(
        self, logprobs: Tensor, behaviour_logprobs: Tensor, response: Tensor, num_responses: int
    ) -> None:
        return None


@dataclass(frozen=True, kw_only=True)
class Truncated(Importance):
    """The ratio, but no more than a cap: truncated importance sampling."""

    kind: ClassVar[str] = "truncated"

    cap: float = 2.0
    """Largest weight; at least 1.  2 is that of Yao et al., 3 TRL's."""
    level: Level = "token"
    """Ratio of each ``token``, or of the whole ``sequence``, the response."""

    def __post_init__(self) -> None:
        if not 1.0 <= self.cap < math.inf:
            raise ValueError(f"cap must be at least 1 and finite, got {self.cap}")
        _check_level(self.level)

    def weights(
        self, logprobs: Tensor, behaviour_logprobs: Tensor, response: Tensor, num_responses: int
    ) -> tuple[Tensor, dict[str, float]]:
        ratio = importance_ratio(logprobs, behaviour_logprobs, response, num_responses, self.level)
        return truncated(ratio, self.cap), _metrics(ratio, ratio > self.cap)


@dataclass(frozen=True, kw_only=True)
class Masked(Importance):
    """The ratio inside an interval, and no gradient from what is outside: IcePop, sequence masking."""

    kind: ClassVar[str] = "masked"

    low: float = 0.5
    """Smallest ratio that is kept; from 0 up to 1.  IcePop's interval is 0.5 to 5."""
    high: float = 5.0
    """Largest ratio that is kept; at least 1."""
    level: Level = "token"
    """Ratio of each ``token``, or of the whole ``sequence``, the response."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.low <= 1.0:
            raise ValueError(f"low must be between 0 and 1, got {self.low}")
        if not 1.0 <= self.high < math.inf:
            raise ValueError(f"high must be at least 1 and finite, got {self.high}")
        _check_level(self.level)

    def weights(
        self, logprobs: Tensor, behaviour_logprobs: Tensor, response: Tensor, num_responses: int
    ) -> tuple[Tensor, dict[str, float]]:
        ratio = importance_ratio(logprobs, behaviour_logprobs, response, num_responses, self.level)
        return masked(ratio, self.low, self.high), _metrics(ratio, (ratio < self.low) | (ratio > self.high))


def _check_level(level: str) -> None:
    if level not in ("token", "sequence"):
        raise ValueError(f"level must be 'token' or 'sequence', got {level!r}")


def _metrics(ratio: Tensor, cut: Tensor) -> dict[str, float]:
    return {"importance/ratio": ratio.double().mean().item(), "importance/cut": cut.double().mean().item()}


IMPORTANCES: dict[str, type[Importance]] = {
    importance.kind: importance for importance in Importance.__subclasses__()
}
