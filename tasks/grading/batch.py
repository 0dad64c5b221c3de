"""A batch of responses during grading, and its grades."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import pairwise

from tasks.grading.messages import GradedAnswer
from tasks.grading.worker import Job
from tasks.rewards import MOST_NAMES, Parts

MAX_GRADINGS = 3
"""How often a response is graded whose worker is killed from outside each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grades:
    """The score of each response, in order, and how many graders went wrong (each scored 0)."""

    scores: list[float]
    num_timeouts: int = 0
    """Graders that took more processor time than they have, or sat too long without using any."""
    num_errors: int = 0
    """Graders that raised, gave a score that is not between 0 and 1, or were killed from outside each time."""
    num_crashes: int = 0
    """Graders that took their process with them."""
    num_regraded: int = 0
    """Gradings that were done again because the worker was killed from outside.  These cost no score."""
    first_error: str = ""
    """What the first response, in order, that met an error or a crash was told."""
    sums: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    """Each number that the user's own rewards are made of: its sum, and the responses that have one."""

    @property
    def means(self) -> dict[str, float]:
        """The mean of each of those numbers over the responses that have one."""
        return {name: total / count for name, (total, count) in self.sums.items()}

    @classmethod
    def join(cls, parts: Sequence[Grades]) -> Grades:
        """The grades of several batches as those of one."""
        return cls(
            scores=[score for part in parts for score in part.scores],
            num_timeouts=sum(part.num_timeouts for part in parts),
            num_errors=sum(part.num_errors for part in parts),
            num_crashes=sum(part.num_crashes for part in parts),
            num_regraded=sum(part.num_regraded for part in parts),
            first_error=next((part.first_error for part in parts if part.first_error), ""),
            sums=_added([part.sums for part in parts]),
        )


class Fate(Enum):
    """How a response can go without a score."""

    TIMEOUT = auto()
    ERROR = auto()
    CRASH = auto()


class Batch:
    """Jobs, the chunks of them that wait for a worker, and what is settled so far."""

    def __init__(
        self,
        jobs: Sequence[Job],
        num_chunks: int,
        limit_seconds: float = float("inf"),
        names: set[str] | None = None,
    ) -> None:
        """``names`` are those of the numbers of earlier batches, to which these are added."""
        self.jobs = jobs
        self._names = set() if names is None else names
        self.chunks = deque(_chunks(len(jobs), num_chunks))
        self._limit_seconds = limit_seconds
        self._scores: dict[int, float] = {}
        self._errors: dict[int, str] = {}
        self._parts: dict[int, Parts] = {}
        self._fates: Counter[Fate] = Counter()
        self._kills: Counter[int] = Counter()
        self._num_regraded = 0

    @property
    def num_left(self) -> int:
        return len(self.jobs) - len(self._scores)

    def settle(self, place: int, graded: GradedAnswer) -> None:
        """Take one graded answer.  What used more processor time than there is counts as a timeout, finished or not:
        so it does not depend on how soon the parent looked."""
        if graded.spent_seconds > self._limit_seconds:
            self.lose(place, Fate.TIMEOUT)
        elif graded.error:
            self.lose(place, Fate.ERROR, graded.error)
        else:
            self._scores[place] = graded.score
            if graded.parts:
                self._parts[place] = graded.parts

    def lose(self, place: int, fate: Fate, reason: str = "") -> None:
        """Score 0, and say why."""
        self._scores[place] = 0.0
        self._fates[fate] += 1
        if reason:
            self._errors[place] = reason

    def interrupted(self, place: int, reason: str) -> None:
        """The worker was killed from outside while it was at this response: another grades it, if not too often."""
        self._kills[place] += 1
        if self._kills[place] < MAX_GRADINGS:
            self._num_regraded += 1
            self.chunks.append([place])
        else:
            self.lose(place, Fate.ERROR, f"{reason} each of the {MAX_GRADINGS} times it was graded")

    def grades(self) -> Grades:
        """The grades, once none is left."""
        self._limit_names()
        return Grades(
            scores=[self._scores[place] for place in range(len(self.jobs))],
            num_timeouts=self._fates[Fate.TIMEOUT],
            num_errors=self._fates[Fate.ERROR],
            num_crashes=self._fates[Fate.CRASH],
            num_regraded=self._num_regraded,
            first_error=self._errors[min(self._errors)] if self._errors else "",
            # In order, for sums of floats depend on it and the order of the answers on the machine.
            sums=_added(
                [
                    {name: (value, 1) for name, value in self._parts[place].items()}
                    for place in sorted(self._parts)
                ]
            ),
        )

    def _limit_names(self) -> None:
        """Refuse names beyond what a run may have, for each is a metric; in order, not as the answers came."""
        for place in sorted(self._parts):
            together = self._names | self._parts[place].keys()
            if len(together) <= MOST_NAMES:
                self._names |= together
                continue
            new = next(name for name in self._parts.pop(place) if name not in self._names)
            self.lose(
                place,
                Fate.ERROR,
                f"rewards must give their numbers at most {MOST_NAMES} names in a run, got {new!r} too; "
                "take names that do not depend on the response",
            )


def _added(parts: Sequence[Mapping[str, tuple[float, int]]]) -> dict[str, tuple[float, int]]:
    """Sums and counts of several batches as those of one."""
    found: dict[str, tuple[float, int]] = {}
    for part in parts:
        for name, (total, count) in part.items():
            before = found.get(name, (0.0, 0))
            found[name] = before[0] + total, before[1] + count
    return found


def _chunks(num_jobs: int, num_chunks: int) -> list[list[int]]:
    """Places cut into contiguous chunks of nearly equal length, none of them empty."""
    bounds = [num_jobs * chunk // num_chunks for chunk in range(num_chunks + 1)]
    return [list(range(start, end)) for start, end in pairwise(bounds) if start < end]
