"""Optimiser steps on one batch: minibatches, micro-batches, and the treatment of a bad gradient."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from orchestrator.configuration.learner import LearnerConfig
from orchestrator.training.ranks import Ranks
from orchestrator.training.seeds import derive_seed
from policies.model.loading import LoadedPolicy
from policies.objectives import Metrics, reduce_metrics, token_weights
from policies.policy_loss import Actuation, policy_loss
from policies.statistics.batch import TokenBatch
from policies.statistics.response_statistics import Statistics, View, response_statistics
from policies.statistics.sequences import Sequences


class TrainingDivergedError(RuntimeError):
    """Losses or gradients stayed not finite for longer than allowed."""


@dataclass(slots=True)
class Update:
    """What the optimiser steps of one iteration did."""

    seed: int
    losses: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    gradient_norms: list[float] = field(default_factory=list)
    per_token: list[Metrics] = field(default_factory=list)
    num_skipped: int = 0
    read: Tensor | None = None
    """[M] int64, the responses of the first step, where that measures and they are not all; None is all of them."""
    seen: list[tuple[Tensor, Statistics]] = field(default_factory=list)
    """What the first step's forward passes gave, where that measures: tokens [t] of the batch, and theirs."""

    def join(self, ranks: Ranks) -> None:
        """Take in what the micro-batches of the other ranks did."""
        if ranks.size > 1:
            mine = [{name: values.cpu() for name, values in part.items()} for part in self.per_token]
            seen = [(tokens.cpu(), part.to("cpu")) for tokens, part in self.seen]
            parts = ranks.gather((mine, seen))
            self.per_token = [part for theirs, _ in parts for part in theirs]
            self.seen = [part for _, theirs in parts for part in theirs]

    def measured(self, batch: TokenBatch) -> TokenBatch:
        """The batch as the policy was before the first step, by that step's own forward passes; nan where it did not read."""
        tokens, parts = zip(*self.seen, strict=True)
        seen = Statistics.assembled(tokens, parts, len(batch.response)).to(batch.response.device)
        return replace(
            batch,
            logprobs=seen.logprobs,
            entropy=seen.entropy,
            filtered_logprobs=seen.filtered_logprobs,
            filtered_entropy=seen.filtered_entropy,
        )

    def metrics(self) -> dict[str, float]:
        """Means over the optimiser steps, ready to be recorded."""
        shares = {f"loss/{name}": _mean(values) for name, values in self.losses.items()}
        return {
            "loss": sum(shares.values()) if shares else math.nan,
            **shares,
            "grad_norm": _mean(self.gradient_norms),
            "guard/skipped_steps": float(self.num_skipped),
            **{f"ratio/{name}": value for name, value in reduce_metrics(self.per_token).items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Updater:
    """Turns a measured batch and an actuation into gradients, one minibatch at a time."""

    policy: LoadedPolicy
    settings: LearnerConfig
    max_tokens: int
    backward: Callable[[Tensor, bool], None]
    """Takes the loss of a micro-batch, and whether it is the last one of its optimiser step."""
    ranks: Ranks

    def minibatches(self, group: Tensor, kept: Tensor, seed: int) -> Iterator[Tensor]:
        """Row indices of each optimiser step: all epochs, each in an order of its own.

        Prompts are shuffled and dealt whole, so a decision that looks at a prompt's group [N] sees
        all of it that is ``kept`` [N].  A minibatch that nothing is left for is no step.
        """
        rows = torch.nonzero(kept).flatten()
        group = group[rows]
        for epoch in range(self.settings.epochs if len(rows) else 0):
            if self.settings.minibatches == 1:
                yield rows
                continue
            generator = torch.Generator().manual_seed(derive_seed(seed, "minibatches", epoch))
            prompts = torch.unique(group)
            prompts = prompts[torch.randperm(len(prompts), generator=generator)]
            for share in prompts.tensor_split(self.settings.minibatches):
                if len(share):
                    yield rows[torch.isin(group, share)]

    def shape(self, sequences: Sequences, batch: TokenBatch, actuation: Actuation, view: View) -> TokenBatch:
        """The batch of the iteration as the update shall see it."""
        batch = actuation.shape(batch, self.settings.advantage)
        if batch.scale is None:
            return batch
        seen = self._observe(sequences, batch, view)
        return replace(
            _seen(batch, seen),
            old_logprobs=seen.logprobs,
            old_entropy=None,
            filtered_logprobs=seen.filtered_logprobs,
        )

    def accumulate(
        self,
        update: Update,
        rows: Tensor,
        sequences: Sequences,
        batch: TokenBatch,
        actuation: Actuation,
        view: View,
    ) -> float:
        """Add the gradient of one minibatch to the parameters' and the figures to ``update``; give its loss."""
        measures = self.settings.measure == "in_update" and not update.gradient_norms
        if measures and len(rows) < batch.num_responses:
            update.read = rows
        sequences = sequences.select(rows)
        batch, places = batch.select(rows.to(batch.response.device))
        batch = replace(batch, weights=self._weights(batch))
        looks_again = actuation.looks_at_minibatch and self.settings.plans == "current"
        if update.gradient_norms and looks_again:
            # The policy has moved since the batch was measured, and decisions look at it as it is.
            batch = _seen(batch, self._observe(sequences, batch, view))
        generator = torch.Generator().manual_seed(
            derive_seed(update.seed, "weights", len(update.gradient_norms))
        )
        plans = actuation.plans(batch)
        factors = _product(actuation.weights(batch, generator), batch.importance)
        view = replace(
            view,
            entropy_gradient=actuation.needs_entropy_gradient,
            # Under the cut only its entropy has a gradient; the log-probs are those of the start.
            vocabulary=view.vocabulary if measures or actuation.needs_entropy_gradient else None,
        )
        totals: dict[str, float] = defaultdict(float)
        pieces = self.ranks.pieces(sequences, self.settings.micro_batches)
        for number, (piece, counts) in enumerate(pieces, start=1):
            tokens, index = batch.select(piece.to(batch.response.device))
            seen = response_statistics(self.policy.model, sequences.select(piece), view, tokens.scale)
            loss, shares, metrics = policy_loss(
                _seen(tokens, seen),
                self.settings.objective,
                actuation,
                [{name: values[index] for name, values in plan.items()} for plan in plans],
                None if factors is None else factors[index],
            )
            self.backward(loss if counts else 0.0 * loss, number == len(pieces))
            if counts and measures:
                update.seen.append((places[index], seen.detached()))
            if counts:
                update.per_token.append(metrics)
                for name, share in shares.items():
                    totals[name] += share.item()
        totals = _added(self.ranks.gather(dict(totals)))
        for name, total in totals.items():
            update.losses[name].append(total)
        return sum(totals.values())

    def _observe(self, sequences: Sequences, batch: TokenBatch, view: View) -> Statistics:
        return self.ranks.observe(
            self.policy,
            sequences,
            view,
            cut=self.settings.micro_batches,
            scale=batch.scale,
        )

    def _weights(self, batch: TokenBatch) -> Tensor:
        return token_weights(
            batch.response, batch.num_responses, self.settings.aggregation, max_tokens=self.max_tokens
        )


def _seen(batch: TokenBatch, seen: Statistics) -> TokenBatch:
    """The batch with what the policy gives it now; what belongs to the start of the update stays."""
    return replace(
        batch,
        logprobs=seen.logprobs,
        entropy=seen.entropy,
        old_entropy=batch.entropy if batch.old_entropy is None else batch.old_entropy,
        filtered_entropy=seen.filtered_entropy,
    )


def _added(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    """Sums by name."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0.0) for part in parts) for name in names}


def _product(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """The product of factors; None stands for no factor."""
    return other if one is None else one if other is None else one * other


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
