"""AEnt's clamped bonus: the command is the coefficient of an entropy that ignores the vocabulary's tail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from policies.actuators.base import Command, LossActuator, Plan
from policies.statistics.batch import TokenBatch
from policies.statistics.vocabulary import DropLowest, VocabularyFilter

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ClampedBonus(LossActuator):
    """Adds -u · w_t · H̃_t, H̃ the entropy without the lowest logits, renormalised.  AEnt, arXiv 2509.03493.

    A bonus on the whole H pulls every implausible entry up, an error of order H · ln V in what the optimum
    is; H̃ pulls only among the plausible.  The choice of entries carries no gradient and those dropped get
    none.  w are the objective's aggregation weights; under token_mean this is the code's own mean.

    The reference [code: inclusionAI/AReaL recipe/AEnt, functional.py and actor.py] feeds H̃, and not H, to its
    dead-band integral: the sensor of the published loop is ``entropy/filtered``.  (Its mean is over the
    micro-batches of a step, after the update; ours is over the batch, before it.)

    H̃ <= ln((1 - dropped_share) · V), reached where the kept entries are equal.  As with the plain bonus the
    push vanishes on a policy that is nearly one-hot.
    """

    kind: ClassVar[str] = "clamped_bonus"
    command: ClassVar[Command] = Command(low=-1.0, high=1.0, neutral=0.0, unit="loss per nat")
    needs_entropy_gradient: ClassVar[bool] = True
    looks_at_policy: ClassVar[bool] = False

    dropped_share: float = 0.3
    """Share of the vocabulary that is dropped, int(share · V) entries; at least 0, below 1.  0.2 to 0.4
    published, 0.3 in the README; 0 is the plain bonus."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.dropped_share < 1.0:
            raise ValueError(f"dropped_share must be in [0, 1), got {self.dropped_share}")

    @property
    def vocabulary(self) -> VocabularyFilter:
        return DropLowest(share=self.dropped_share)

    def plan(self, batch: TokenBatch, u: float) -> Plan:
        return {"weights": batch.weights}

    def loss(self, tokens: TokenBatch, plan: Plan, u: float) -> Tensor:
        assert tokens.filtered_entropy is not None, "clamped_bonus needs the entropy of its vocabulary"
        return -u * plan["weights"] * tokens.filtered_entropy
