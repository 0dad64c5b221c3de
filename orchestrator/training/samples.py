"""Keeps a few responses of some iterations in the run's folder, for people to read."""

from __future__ import annotations

import logging
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orchestrator.errors import one_line
from orchestrator.storage.samples import MOST_TOKENS, Sample, write_samples
from orchestrator.training.evaluation import PASS_SCORE
from orchestrator.training.experience import Rollouts
from policies.model.loading import LoadedPolicy
from policies.rollouts.base import Completion
from policies.statistics.batch import TokenBatch

log = logging.getLogger(__name__)


class SampleKeeper:
    """Keeps the first response to each of the first prompts of an iteration, then the second ones, and so on.

    Nothing is drawn and nothing is selected by reward: the samples are those of any other ``number`` of the
    iteration, and all that is measured stays as it is.  A disk that is full costs the samples alone, and is said
    once.

    Args:
        folder: of the samples.
        policy: decodes them.
        num_iterations: of the run, whose first and last have samples.
        number: responses of an iteration; 0 keeps none.
        every: iterations between samples; None is a tenth of the run.
        entropies: whether tokens are kept one by one, with the policy's entropy at each.
    """

    def __init__(
        self,
        *,
        folder: Path,
        policy: LoadedPolicy,
        num_iterations: int,
        number: int,
        every: int | None = None,
        entropies: bool = True,
    ) -> None:
        self.folder = folder
        self.policy = policy
        self.last_iteration = num_iterations - 1
        self.number = number
        self.every = every or ceil(num_iterations / 10)
        self.entropies = entropies
        self._has_failed = False

    def keep(self, iteration: int, rollouts: Rollouts, batch: TokenBatch) -> None:
        """Write the samples of an iteration that is due; ``batch`` is as measured before the update."""
        is_due = iteration % self.every == 0 or iteration == self.last_iteration
        if not (self.number and is_due):
            return
        samples = [self._sample(iteration, each, rollouts, batch) for each in self._chosen(rollouts.group)]
        try:
            write_samples(self.folder, iteration, samples)
        except OSError as error:
            if not self._has_failed:
                log.warning("samples are not kept, and the run goes on: %s", one_line(error))
            self._has_failed = True

    def _chosen(self, group: Tensor) -> list[int]:
        """Places among the N responses; ``group`` [N] is ascending."""
        place_in_group = torch.arange(len(group)) - torch.searchsorted(group, group)
        return sorted(torch.argsort(place_in_group, stable=True)[: self.number].tolist())

    def _sample(self, iteration: int, number: int, rollouts: Rollouts, batch: TokenBatch) -> Sample:
        problem, completion = rollouts.problems[number], rollouts.completions[number]
        reward = rollouts.grades.scores[number]
        kept = self._of_tokens(number, rollouts, batch) if self.entropies else {}
        return Sample(
            iteration=iteration,
            number=number,
            domain=problem.domain,
            prompt=problem.text,
            answer=problem.answer,
            turns=self._turns(completion),
            reward=reward,
            right=reward >= PASS_SCORE,
            length=int(completion.spoken.sum()),
            finished=completion.finished,
            **kept,
        )

    def _turns(self, completion: Completion) -> list[str]:
        """Texts of the policy's turns with the replies between them, of which one may be empty."""
        if completion.turn is None:
            return self.policy.decode([completion.tokens])
        whose, lengths = torch.unique_consecutive(completion.turn, return_counts=True)
        texts = self.policy.decode(torch.split(completion.tokens, lengths.tolist()))
        turns: list[str] = []
        for number, text in zip(whose.tolist(), texts, strict=True):
            if number and len(turns) % 2:  # no reply was between
                turns.append("")
            turns.append(text)
        return turns

    def _of_tokens(self, number: int, rollouts: Rollouts, batch: TokenBatch) -> dict[str, Any]:
        completion = rollouts.completions[number]
        entropy = torch.full((len(completion.tokens),), torch.nan)
        entropy[completion.spoken] = batch.entropy[batch.response == number].float().cpu()
        tokens = completion.tokens[:MOST_TOKENS]
        turns = completion.spoken.long() if completion.turn is None else completion.turn
        return {
            "tokens": self.policy.pieces(tokens),
            "token_turns": turns[:MOST_TOKENS].tolist(),
            "entropies": [each if each == each else None for each in entropy[:MOST_TOKENS].tolist()],
        }
