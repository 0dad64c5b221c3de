"""Best of k: the command is the number of samples whose best one counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from policies.actuators.base import AdvantageActuator, Command, UpdateFacts
from policies.best_of_k import Scale, team_weight
from policies.statistics.batch import TokenBatch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class BestOf(AdvantageActuator):
    """A · w_g(u), w_g how much a team of u is worth telling right from wrong for.  Pass@k, 2505.15201 and 2508.10751.

    For rewards of 0 and 1 all that pass@k training changes is the weight of a prompt: with ρ = pass@u of the group,
    the chance that u - 1 others of a wrong response have no right one among them is D, and

        deviation:      w = D · √(p (1 - p) / (ρ (1 - ρ)))     Pass@k Training, over an advantage that divides by std
        leave_one_out:  w = D · (n - 1) / (n - u)              PKPO: exactly ``pass_k`` of k = u, over ``rloo``

    Rewards with more than two values have the same ratio of standard deviations for a weight, which is ours; so is
    a real u, between two whole numbers by the gamma function.  Rewards are those that were graded.  A group of
    at most u takes its size less one.  Equations from memory, unverified; the tests enumerate teams.

    Direction: prompts that are mostly right lose their weight, and with it the push of their likely right responses,
    which lowers entropy (METHODS 1.2); so more u spends entropy later.  At large u most groups have no weight left.
    """

    kind: ClassVar[str] = "best_of"
    command: ClassVar[Command] = Command(
        low=1.0, high=16.0, neutral=1.0, unit="samples, the best of which counts"
    )
    looks_at_policy: ClassVar[bool] = False

    scale: Scale = "deviation"
    """``deviation`` belongs over the advantage ``grpo``, ``leave_one_out`` over ``rloo``."""

    def __post_init__(self) -> None:
        if self.scale not in ("deviation", "leave_one_out"):
            raise ValueError(f"scale must be 'deviation' or 'leave_one_out', got {self.scale!r}")

    def why_inert(self, facts: UpdateFacts) -> str | None:
        if facts.group_size == 2:
            return (
                "a group of 2 has no team of two that leaves a response out, so k stays 1; raise group_size"
            )
        return None

    def advantages(self, batch: TokenBatch, u: float) -> Tensor:
        weight = team_weight(batch.rewards, batch.group, u, self.scale)
        return batch.advantages * weight.to(batch.advantages)[batch.response]
