"""Clip_B: the command takes the gradient of tokens that would lower entropy exceptionally much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from policies.actuators.base import Command, WeightActuator
from policies.statistics.batch import TokenBatch
from policies.statistics.entropy_dynamics import discriminator

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True, kw_only=True)
class DiscriminatorClip(WeightActuator):
    """Weight 1 - u for outliers of the entropy discriminator.  Clip_B, arXiv 2602.03392; published u = 1.

        S = π (H + log π),   z = S - mean S,   σ its standard deviation (population), over the minibatch
        negative:  A < 0 and z < -threshold · σ
        both:      that, or A > 0 and z > threshold · σ

    A step on a sampled token moves entropy by -A (S - E[S]) to first order (METHODS 1.2, 8.21), so both
    cases lower it: an unlikely token penalised, a likely one rewarded.  Leaving them out raises it.

    The method as described filters S against the batch; the authors' code [agentscope-ai/Trinity-RFT,
    ``clipb_advantage.py``, examples/entropy @7305496] filters ``negative`` only and keeps every token with
    A >= 0, and that is the default here.  ``both`` is the theory's symmetric form; S has its heavy tail
    below 0, so few rewarded tokens are ever above the threshold.  Two differences from that code: it takes
    S once from the whole batch at the rollout, and it removes the tokens from the mask and so from the
    denominator, which here stays (0.1 % or so of the tokens).  Clip_V, which centres S over the vocabulary,
    needs the full distribution and is not here.
    """

    kind: ClassVar[str] = "discriminator_clip"
    command: ClassVar[Command] = Command(low=0.0, high=1.0, neutral=0.0, unit="weight of outliers")

    threshold: float = 2.5
    """μ, standard deviations from the mean of S, above 0.  2.5 is the authors' example for Clip_B."""

    sides: Literal["negative", "both"] = "negative"
    """Advantages that are filtered: the negative ones, or both signs."""

    def __post_init__(self) -> None:
        if not self.threshold > 0.0:
            raise ValueError(f"threshold must be above 0, got {self.threshold}")
        if self.sides not in ("negative", "both"):
            raise ValueError(f"sides must be 'negative' or 'both', got {self.sides!r}")

    def weights(self, batch: TokenBatch, u: float, generator: Generator) -> Tensor:
        score = discriminator(batch.logprobs, batch.entropy)
        centred = score - score.mean()
        limit = self.threshold * centred.square().mean().sqrt()
        outlier = (batch.advantages < 0) & (centred < -limit)
        if self.sides == "both":
            outlier |= (batch.advantages > 0) & (centred > limit)
        return 1.0 - u * outlier.to(score)
