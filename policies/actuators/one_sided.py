"""One-sided rewards: the command decides whether right and wrong responses teach, or one kind alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from policies.actuators.base import AdvantageActuator, Command
from policies.statistics.batch import TokenBatch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class OneSided(AdvantageActuator):
    """(1 - |u|) · A + max(u, 0) · min(s, 0) + max(-u, 0) · max(s, 0), with s = 2 r - 1 of each response.

    Entrocraft, arXiv 2604.26326 [form from a survey of lblaoke/entrocraft, unverified], has three positions: at
    u = 1, below its band, only wrong responses teach, with the advantage -1; at u = -1, above it, only right ones,
    with +1; inside it, at 0, both do by the run's own advantage.  A reward of ±1 is not compared with its group, so
    all-wrong and all-right groups teach too.  The positions between the three are ours.

    Rewards are those that were graded.  In expectation over samples of the policy itself both sides have the same
    gradient: they differ by a baseline.  What differs is a batch of few samples, and several steps on it: one side
    pulls towards what was sampled, which is mostly likely and loses entropy so (METHODS 1.2), the other pushes away
    from it.  So more u leaves more entropy; but at u = 1 what the update pushes to is not chosen: keep it short.
    """

    kind: ClassVar[str] = "one_sided"
    command: ClassVar[Command] = Command(
        low=-1.0, high=1.0, neutral=0.0, unit="wrong responses alone (1), right alone (-1)"
    )
    looks_at_policy: ClassVar[bool] = False

    def advantages(self, batch: TokenBatch, u: float) -> Tensor:
        signed = (2.0 * batch.rewards - 1.0).to(batch.advantages)[batch.response]
        one_side = signed.clamp(max=0.0) if u > 0 else signed.clamp(min=0.0)
        return (1.0 - abs(u)) * batch.advantages + abs(u) * one_side
