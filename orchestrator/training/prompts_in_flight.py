"""Keeps more prompts in flight than a batch has: the first whose responses have ended make the batch.

    batch t     ─ begin ─ round ─ round ─ … P have ended ─►  P learned from, the others go on or are dropped
    batch t+1   ─ begin P more ─ round ─ …

In a round every response that has not ended goes on by as many tokens as any other, while graders grade what ended
in the round before.  All ranks know all that is in flight, and each samples its share of a round; so who is first
depends neither on how fast an engine is nor on how many ranks there are.

A prompt is addressed by its number in the run.  What is in flight is in the checkpoint, and what cannot continue
from there is begun again by its number: no prompt is lost, and none is learned from twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from statistics import fmean
from time import perf_counter
from typing import Any

from torch import Tensor

from orchestrator.training.batch_shares import Cut, Share
from orchestrator.training.experience import Explorer
from orchestrator.training.prompts import PromptLoader
from orchestrator.training.stored_rollouts import stored_response
from policies.rollouts.addressed_sampling import turn_seed
from policies.rollouts.base import Completion, Sampling, check_context
from policies.rollouts.in_flight import InFlight, joined, sample_segments
from tasks import Problem
from tasks.grading.batch import Grades


@dataclass(slots=True, kw_only=True, eq=False)
class Group:
    """A prompt in flight and its ``G`` responses."""

    number: int  # in the run
    begun: int  # iteration of the batch that it was begun for
    problem: Problem
    prompt: Tensor
    responses: list[Completion | None]  # [G]
    scores: list[float] = field(default_factory=list)  # [G] once they are graded

    def unended(self, max_tokens: int) -> list[int]:
        """Numbers of the responses that have not ended, neither by a stop token nor at the limit."""
        return [
            sample
            for sample, response in enumerate(self.responses)
            if response is None or not (response.finished or len(response.tokens) >= max_tokens)
        ]


class PromptsInFlight:
    """Makes one batch after another; all ranks make them together."""

    def __init__(
        self,
        explorer: Explorer,
        prompts: PromptLoader,
        settings: InFlight,
        *,
        group_size: int,
        max_wait: int,
    ) -> None:
        """``max_wait`` is the number of batches after its own that a prompt may be left out of."""
        self.explorer = explorer
        self.prompts = prompts
        self.settings = settings
        self.group_size = group_size
        self.max_wait = max_wait
        # With rollouts ahead a thread is at work here.
        self.ranks = explorer.ranks.apart("prompts in flight")
        self._groups: list[Group] = []  # in the order in which they were begun
        self._again: list[int] = []  # numbers that are to be begun again, before others
        self._next = 0  # the number after all that were begun
        self._made: list[int] = []  # the last batch: its iteration, and what decided how it was sampled

    def collect(self, iteration: int, sampling: Sampling) -> Share:
        """The whole batch of an iteration, on every rank."""
        self._begin(iteration)
        # The engine sees a round at a time, and so the whole of a response only when it is too late.
        policy = self.explorer.policy
        check_context((group.prompt for group in self._groups), sampling.max_tokens, policy.context)
        rounds, seconds = 0, {"rollout": 0.0, "grade": 0.0}
        graded: list[Grades] = []
        with self.explorer.engine.session(), ThreadPoolExecutor(1, "grading") as grader:
            # At least one round, so that what was begun goes on where enough has ended before.
            while not (rounds and self._is_full(iteration, sampling.max_tokens)):
                rounds += 1
                ended = [group for group in self._ended(sampling.max_tokens) if not group.scores]
                grading = grader.submit(self._grade, *self._to_grade(ended))
                start = perf_counter()
                self._round(rounds, iteration, sampling)
                sampled = perf_counter()
                graded.append(self._take(ended, grading.result))
                seconds["rollout"] += sampled - start
                seconds["grade"] += perf_counter() - sampled
        batch = self._ended(sampling.max_tokens)[: self.prompts.prompts_per_iteration]
        start = perf_counter()
        ended = [group for group in batch if not group.scores]
        graded.append(self._take(ended, lambda: self._grade(*self._to_grade(ended))))
        seconds["grade"] += perf_counter() - start

        left_out = [group for group in self._groups if group not in batch]
        self._groups = left_out if self.settings.unfinished == "go_on" else []
        self._made = self._how(iteration, sampling)
        return Share(
            problems=[group.problem for group in batch],
            prompts=[group.prompt for group in batch],
            completions=_responses(batch),
            grades=replace(Grades.join(graded), scores=[score for group in batch for score in group.scores]),
            seconds=seconds,
            cut=Cut(
                numbers=[group.number for group in batch],
                begun=[group.begun for group in batch],
                num_rounds=rounds,
                left_out_length=fmean(len(response.tokens) for response in _responses(left_out)),
            ),
        )

    def _begin(self, iteration: int) -> None:
        """Begin prompts until as many are in flight as there shall be."""
        # A run in which the setting is new has used the numbers before these.
        self._next = max(self._next, iteration * self.prompts.prompts_per_iteration)
        while len(self._groups) < self.settings.prompts:
            if self._again:
                number = self._again.pop(0)
            else:
                number, self._next = self._next, self._next + 1
            self._groups.append(self._group(number, iteration))

    def _group(self, number: int, begun: int) -> Group:
        problem = self.prompts.numbered(number, begun)
        return Group(
            number=number,
            begun=begun,
            problem=problem,
            prompt=self.explorer.encode([problem])[0],
            responses=[None] * self.group_size,
        )

    def _ended(self, max_tokens: int) -> list[Group]:
        return [group for group in self._groups if not group.unended(max_tokens)]

    def _is_full(self, iteration: int, max_tokens: int) -> bool:
        """Whether a batch has ended, with all in it that may not be left out of another.

        These are the first in flight, and never more than a batch, since earlier ones left no more.
        """
        ended = self._ended(max_tokens)
        due = [g for g in self._groups if g.begun < iteration and g.begun + self.max_wait <= iteration]
        return len(ended) >= self.prompts.prompts_per_iteration and all(group in ended for group in due)

    def _round(self, number: int, iteration: int, sampling: Sampling) -> None:
        """Every response that has not ended goes on, on each rank a share of them."""
        rows = [(group, sample) for group in self._groups for sample in group.unended(sampling.max_tokens)]
        ours = self.ranks.share(len(rows))
        mine = rows[ours.start : ours.stop]
        segments = sample_segments(
            self.explorer.engine,
            [group.prompt for group, _ in mine],
            [group.responses[sample] for group, sample in mine],
            replace(
                sampling,
                max_tokens=self.settings.round_tokens,
                seed=turn_seed(sampling.seed, number),
                numbers=tuple(group.number * self.group_size + sample for group, sample in mine),
            ),
            # An engine without weights of its own samples with the policy, and so for the batch of now.
            version=iteration,
        )
        everywhere = [segment for part in self.ranks.gather(segments) for segment in part]
        for (group, sample), segment in zip(rows, everywhere, strict=True):
            group.responses[sample] = joined(group.responses[sample], segment)

    def _to_grade(self, groups: Sequence[Group]) -> tuple[list[Problem], list[str]]:
        """This rank's share of what is to be graded: a problem for each response, and its text."""
        ours = self.ranks.share(len(groups))
        mine = groups[ours.start : ours.stop]
        texts = self.explorer.policy.decode([response.last_turn for response in _responses(mine)])
        return [group.problem for group in mine for _ in range(self.group_size)], texts

    def _grade(self, problems: Sequence[Problem], texts: Sequence[str]) -> Grades:
        assert self.explorer.graders is not None, "rollouts are graded"
        return self.explorer.graders.grade(problems, texts)

    def _take(self, groups: Sequence[Group], grading: Callable[[], Grades]) -> Grades:
        """The grades of some groups, of which every rank has a share."""
        grades = Grades.join(self.ranks.gather(grading()))
        for place, group in enumerate(groups):
            group.scores = grades.scores[place * self.group_size : (place + 1) * self.group_size]
        return grades

    def _how(self, iteration: int, sampling: Sampling) -> list[int]:
        return [iteration, sampling.seed, sampling.max_tokens, self.settings.round_tokens]

    def state_dict(self) -> dict[str, Any]:
        """What is in flight, as plain numbers and tensors; problems are drawn again by their numbers."""
        return {
            "next": self._next,
            "again": list(self._again),
            "made": self._made,
            "groups": [
                {
                    "number": group.number,
                    "begun": group.begun,
                    "problem": group.problem.text,
                    "responses": [response and stored_response(response) for response in group.responses],
                    "scores": group.scores,
                }
                for group in self._groups
            ],
        }

    def load_state_dict(
        self, content: dict[str, Any], unused: Iterable[int], sampling_at: Callable[[int], Sampling]
    ) -> None:
        """Continue what a checkpoint has in flight.

        Begun again are prompts whose responses would be sampled in another way now, after a rollback or by other
        settings, and the numbers ``unused``, of its batches that are not learned from as they are.
        """
        self._next, self._made = content["next"], content["made"]
        is_same = bool(self._made) and self._made == self._how(self._made[0], sampling_at(self._made[0]))
        again = [*content["again"], *unused]
        for each in content["groups"]:
            group = self._group(each["number"], each["begun"])
            is_there = (group.problem.text, self.group_size) == (each["problem"], len(each["responses"]))
            if is_same and is_there:
                group.responses = [response and Completion(**response) for response in each["responses"]]
                group.scores = each["scores"]
                self._groups.append(group)
            else:
                again.append(group.number)
        self._again = sorted(again)


def _responses(groups: Iterable[Group]) -> list[Completion]:
    return [response for group in groups for response in group.responses if response is not None]
