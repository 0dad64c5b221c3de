"""SIREN's selective bonus: the command pushes the entropy of the tokens where there is a choice to make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import torch

from policies.actuators.base import Command, LossActuator, Plan
from policies.statistics.batch import TokenBatch
from policies.statistics.responses import TOP_SHARE, response_sums, top_tokens
from policies.statistics.vocabulary import TopP, VocabularyFilter

if TYPE_CHECKING:
    from torch import Tensor

Sides = Literal["both", "positive", "negative", "signed"]


@dataclass(frozen=True, kw_only=True)
class SelectedBonus(LossActuator):
    """Adds -u · H_sel, H_sel the mean top-p entropy of each response's top tokens.  SIREN, arXiv 2509.25133.

    SIREN's loss c · (H_sel - H_anchor)² has the gradient 2c · (H_sel - H_anchor) · ∇H_sel.  It equals this
    actuator under u = kp · (H_anchor - H_sel), a proportional law with kp = 2c on the sensor
    ``entropy/filtered/top`` (published c = 0.005, so kp = 0.01): the penalty is a P controller written as
    a loss, and has a P controller's offset.  Exactly so on the first optimiser step of a batch; later
    ones keep the command of the batch, where the penalty would read H_sel again.

    H_sel is the mean over responses of the mean over their selected tokens, whatever the objective's
    aggregation: the script leaves ``entropy_agg_mode`` at its default, seq-mean-token-mean.

    The reference [code: Linn3a/siren, verl/workers/actor/dp_actor.py] differs, by reading:
    - its mean is over one micro-batch, and the square of a mean is not the mean of squares, so its result
      moves with packing;
    - its top-p set leaves out the entry that crosses p, and is empty where the likeliest entry has p of the
      mass or more.  Here, as the paper has it, that entry is in.  Either way such a token has entropy 0;
    - it selects those above the interpolated 0.8-quantile of a response, padding not excluded; for the count
      here see ``policies.statistics.responses.top_tokens``;
    - it looks for the top-p set among the 10000 likeliest entries, which changes nothing at p = 0.8.

    ``sides`` makes the push depend on the sign of a token's advantage (after CES, arXiv 2605.19358, known from a
    survey): the selection and its denominators stay those of all responses, so what is left out is not made up for.
    """

    kind: ClassVar[str] = "selected_bonus"
    command: ClassVar[Command] = Command(low=-1.0, high=1.0, neutral=0.0, unit="loss per nat")
    needs_entropy_gradient: ClassVar[bool] = True

    mass: float = 0.8
    """p: the entropy is of the fewest likeliest entries that hold this much probability; above 0, at most 1."""

    share: float = TOP_SHARE
    """Share of each response's tokens that are selected, by that entropy; above 0, at most 1.  The sensor
    ``entropy/filtered/top`` is of the published 0.2 whatever this is."""

    sides: Sides = "both"
    """Selected tokens that are pushed: ``both``, all; ``positive``, those with A > 0; ``negative``, those with A < 0;
    ``signed``, by the sign of A, which raises the entropy of rewarded forks and lowers that of penalised ones."""

    def __post_init__(self) -> None:
        if not 0.0 < self.mass <= 1.0:
            raise ValueError(f"mass must be in (0, 1], got {self.mass}")
        if not 0.0 < self.share <= 1.0:
            raise ValueError(f"share must be in (0, 1], got {self.share}")
        if self.sides not in get_args(Sides):
            raise ValueError(f"sides must be one of {', '.join(get_args(Sides))}, got {self.sides!r}")

    @property
    def vocabulary(self) -> VocabularyFilter:
        return TopP(mass=self.mass)

    def plan(self, batch: TokenBatch, u: float) -> Plan:
        assert batch.filtered_entropy is not None, "selected_bonus needs the entropy of its vocabulary"
        chosen = top_tokens(batch.filtered_entropy, batch.response, batch.num_responses, self.share)
        chosen = chosen.to(batch.weights)
        per_response = response_sums(chosen, batch.response, batch.num_responses).clamp(min=1)
        num_spoken = (batch.lengths > 0).sum().clamp(min=1)
        weights = chosen / per_response[batch.response] / num_spoken
        return {"weights": weights if self.sides == "both" else weights * self._signs(batch.advantages)}

    def _signs(self, advantages: Tensor) -> Tensor:
        """What each token's push is multiplied by [T]."""
        low, high = {"positive": (0.0, 1.0), "negative": (-1.0, 0.0), "signed": (-1.0, 1.0)}[self.sides]
        signs = torch.sign(advantages).clamp(low, high)
        return signs.abs() if self.sides == "negative" else signs

    def loss(self, tokens: TokenBatch, plan: Plan, u: float) -> Tensor:
        assert tokens.filtered_entropy is not None, "selected_bonus needs the entropy of its vocabulary"
        return -u * plan["weights"] * tokens.filtered_entropy
