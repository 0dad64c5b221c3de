"""Unlikeliness reward: the command takes reward from the likely successes of a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from policies.actuators.base import Command, RewardActuator
from policies.statistics.batch import TokenBatch
from policies.statistics.responses import response_means, response_sums

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Unlikeliness(RewardActuator):
    """score · (1 - u · rank / G), rank 0 for the least likely response of a group.  2506.02355, u = 0.25.

    The rank is among all G responses of the prompt, right and wrong, so the likeliest success loses most and
    a success that is less likely than every failure loses nothing; a failure's 0 stays 0.

    As AndreHe02/rewarding-unlikely-release @3e26ddd (ray_lean_trainer.py, ``_compute_advantages``), which
    ranks by mean log-prob a token at the start of the update; the paper writes π(y | x), the sum, which
    ranks by length too.  Two deviations: equally likely responses (identical ones) share their mean rank,
    there the order of the batch decides; and a group of one is left with an advantage of 0.

    A group that is all right has advantages again, away from its likeliest responses; that is the point, and
    it is also why a batch filtered of all-right groups sees less of it.
    """

    kind: ClassVar[str] = "unlikeliness"
    command: ClassVar[Command] = Command(low=-1.0, high=1.0, neutral=0.0, unit="share of the reward")
    looks_at_policy: ClassVar[bool] = False

    likelihood: Literal["token_mean", "sequence"] = "token_mean"
    """What is ranked: ``token_mean``, log π a token (the code); ``sequence``, log π of the whole response."""

    def __post_init__(self) -> None:
        if self.likelihood not in ("token_mean", "sequence"):
            raise ValueError(f"likelihood must be 'token_mean' or 'sequence', got {self.likelihood!r}")

    def rewards(self, batch: TokenBatch, u: float) -> Tensor:
        reduce = response_means if self.likelihood == "token_mean" else response_sums
        likelihood = reduce(batch.old_logprobs, batch.response, batch.num_responses)
        share = rank_share(likelihood.nan_to_num(nan=0.0), batch.group)  # no token: probability 1
        return batch.rewards * (1.0 - u * share.to(batch.rewards))


def rank_share(values: Tensor, group: Tensor) -> Tensor:
    """rank / n of each value among the n of its group [N]: 0 for the lowest, equals share their mean rank."""
    siblings = group[:, None] == group[None, :]
    below = (siblings & (values[None, :] < values[:, None])).sum(dim=1)
    equal = (siblings & (values[None, :] == values[:, None])).sum(dim=1)  # itself among them
    return (below + (equal - 1) / 2) / siblings.sum(dim=1)
