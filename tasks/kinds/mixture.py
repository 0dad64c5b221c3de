"""Several tasks as one, each with its share of the problems."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import gcd
from pathlib import Path
from random import Random
from typing import ClassVar

from tasks.base import GradingNeed, Problem, Split, Task
from tasks.names import look_alikes
from tasks.rewards import Reward, Score

MAX_WEIGHT = 1000
LONGEST_NAME = 60
"""Characters of a member's name, which stands before that of each of its domains in the names of metrics."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A task of a mixture."""

    task: Task
    """Any task but a mixture."""

    weight: int = 1
    """Relative weight: this member gets weight / (sum of weights) of the problems."""

    name: str | None = None
    """Stands before its domains, ``sums.add2``; null is the kind of the task."""

    def __post_init__(self) -> None:
        if not 1 <= self.weight <= MAX_WEIGHT:
            raise ValueError(f"weight must be a whole number from 1 to {MAX_WEIGHT}, got {self.weight}")
        if self.name is not None and not re.fullmatch(r"[A-Za-z0-9_-]+", self.name):
            raise ValueError(f"name must be of letters, digits, _ and -, got {self.name!r}")
        if len(self.label) > LONGEST_NAME:
            raise ValueError(
                f"name must have at most {LONGEST_NAME} characters, got {len(self.label)}; shorten it"
            )

    @property
    def label(self) -> str:
        return self.name or self.task.kind


@dataclass(frozen=True, kw_only=True)
class Mixture(Task):
    """Problems of several tasks, interleaved by their weights.

    Every stretch of the problems holds the members in proportion, as closely as whole problems allow, in
    training and in the evaluation; a member whose held-out prompts run out leaves its place to the others.  Each
    member is walked in its own order, so that its epochs stay whole.  A domain is the member's name, a dot
    and its own domain: members with domains of the same name stay distinct, and metrics and loops can be
    kept for each (``domain: sums.add2``).  Each member holds out its own prompts: members that share some have
    to hold out the same ones, as those do whose split is by content with one fraction.
    """

    kind: ClassVar[str] = "mixture"

    tasks: tuple[Member, ...]
    """The members, each ``{task: {...}, weight: 2, name: sums}``."""

    def __post_init__(self) -> None:
        if len(self.tasks) < 2:
            raise ValueError(
                f"tasks must have at least two members, got {len(self.tasks)}; name the task itself"
            )
        labels = [member.label for member in self.tasks]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(
                    f"tasks must have different names, got {label!r} {labels.count(label)} times; "
                    "give each member a name of its own"
                )
        if twins := look_alikes(labels):
            raise ValueError(
                f"tasks must have names that differ by more than case, got {twins[0]!r} and {twins[1]!r}; rename one"
            )
        if any(isinstance(member.task, Mixture) for member in self.tasks):
            raise ValueError("tasks must not be mixtures themselves, got one; put its members here")

    def reads(self) -> Mapping[str, Path | str]:
        return {
            f"tasks.{place}.task.{name}": source
            for place, member in enumerate(self.tasks)
            for name, source in member.task.reads().items()
        }

    def prepare(self) -> None:
        for member in self.tasks:
            member.task.prepare()

    @property
    def grading_needs(self) -> Collection[GradingNeed]:
        return {need for member in self.tasks for need in member.task.grading_needs}

    def problem(self, split: Split, seed: int, index: int) -> Problem:
        order = _order(tuple(member.weight for member in self.tasks))
        round_, place = divmod(index, len(order))
        which, rank = order[place]
        member = self.tasks[which]
        each_round = sum(chosen == which for chosen, _ in order)
        problem = member.task.problem(split, seed, round_ * each_round + rank)
        facts = {"member": member.label, "domain": problem.domain, "facts": dict(problem.facts)}
        return replace(problem, domain=f"{member.label}.{problem.domain}", facts=facts)

    def grade(self, problem: Problem, response: str) -> float:
        task, own = self._owner(problem)
        return task.grade(own, response)

    def score(self, problem: Problem, response: str) -> Score:
        task, own = self._owner(problem)
        return super().score(own, response) if self.reward else task.score(own, response)

    def rewards(self) -> Mapping[str, Reward]:
        if self.reward:
            return super().rewards()
        return {
            f"tasks.{place}.task.{key}": each
            for place, member in enumerate(self.tasks)
            for key, each in member.task.rewards().items()
        }

    def demonstrate(self, problem: Problem, rng: Random, error_rate: float) -> str:
        task, own = self._owner(problem)
        return task.demonstrate(own, rng, error_rate)

    def reply(self, problem: Problem, turns: Sequence[str]) -> str | None:
        task, own = self._owner(problem)
        return task.reply(own, turns)

    @property
    def answers_back(self) -> bool:
        return any(member.task.answers_back for member in self.tasks)

    def demonstrate_turn(self, problem: Problem, turns: Sequence[str], rng: Random, error_rate: float) -> str:
        task, own = self._owner(problem)
        return task.demonstrate_turn(own, turns, rng, error_rate)

    def alphabet(self) -> str:
        return "".join(sorted(set().union(*(member.task.alphabet() for member in self.tasks))))

    def _owner(self, problem: Problem) -> tuple[Task, Problem]:
        """The member that a problem is of, and the problem as that one made it.

        Raises:
            ValueError: it is of no member.
        """
        facts = problem.facts
        for member in self.tasks:
            if member.label == facts.get("member"):
                return member.task, replace(problem, domain=facts["domain"], facts=facts["facts"])
        raise ValueError(f"problem must be of a member of the mixture, got one of {facts.get('member')!r}")


@lru_cache(maxsize=64)
def _order(weights: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Member of each place of one round, with how many of that member came before it in the round.

    Smooth weighted round-robin: each place goes to the member that is furthest behind its share, the
    earlier one of equals.  Weights 2 and 1 give 0, 1, 0.
    """
    divisor = gcd(*weights)
    shares = [weight // divisor for weight in weights]
    credit, taken, order = [0] * len(shares), [0] * len(shares), []
    for _ in range(sum(shares)):
        credit = [have + share for have, share in zip(credit, shares, strict=True)]
        chosen = credit.index(max(credit))
        credit[chosen] -= sum(shares)
        order.append((chosen, taken[chosen]))
        taken[chosen] += 1
    return tuple(order)
