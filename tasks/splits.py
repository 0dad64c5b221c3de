"""Training and held-out problems, separated by their content and not by the way they were drawn."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from random import Random

from tasks.base import Problem, Split, Task

HELD_OUT_FRACTION = 0.1
MAX_TRIES = 1000


def stable_hash(text: str) -> int:
    """64 bits of BLAKE2b: the same on every machine and in every process, unlike Python's ``hash``."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def split_of(prompt: str, held_out_fraction: float = HELD_OUT_FRACTION) -> Split:
    """The side a prompt is on: held out when its hash, as a number in [0, 1), is below the fraction."""
    return "held_out" if stable_hash(prompt) < held_out_fraction * 2**64 else "train"


def problem_rng(split: Split, seed: int, index: int) -> Random:
    """The source of chance of one problem, so that any index is reached without its predecessors."""
    return Random(stable_hash(f"{split}/{seed}/{index}"))  # nosec B311  # chance of problems, not of keys


def draw(
    generate: Callable[[Random], Problem],
    split: Split,
    seed: int,
    index: int,
    held_out_fraction: float = HELD_OUT_FRACTION,
) -> Problem:
    """The ``index``-th problem of a split: generated again until its prompt is on the right side.

    Raises:
        ValueError: no prompt was on that side, so the generator knows too few problems.
    """
    rng = problem_rng(split, seed, index)
    for _ in range(MAX_TRIES):
        problem = generate(rng)
        if split_of(problem.prompt, held_out_fraction) == split:
            return problem
    raise ValueError(
        f"split {split!r} has no problem: {MAX_TRIES} draws all fell on the other side, the last one "
        f"being {problem.prompt!r}; widen the task's settings so that it has more different problems"
    )


class TooFewProblemsError(ValueError):
    """A task has fewer different held-out problems than were asked for."""


def held_out_set(task: Task, num_problems: int, seed: int = 0) -> list[Problem]:
    """The first ``num_problems`` different held-out problems of a task, in the order of their indices.

    Raises:
        TooFewProblemsError: the task has fewer; the message says how many were found.
    """
    if num_problems < 1:
        raise ValueError(f"num_problems must be at least 1, got {num_problems}")
    found: dict[str, Problem] = {}
    index = num_repeats = 0
    while len(found) < num_problems:
        problem = task.problem("held_out", seed, index)
        num_repeats = num_repeats + 1 if problem.prompt in found else 0
        found.setdefault(problem.prompt, problem)
        index += 1
        if num_repeats > 100 + 10 * len(found):  # were a new one left, e⁻¹⁰ is the odds of missing it
            raise TooFewProblemsError(
                f"num_problems: must be at most {len(found)}, got {num_problems}: {task.kind} has no more different "
                f"held-out problems; ask for fewer, or widen the task's settings"
            )
    return list(found.values())
