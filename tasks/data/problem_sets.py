"""A finite set of problems: training and held-out side, each walked in epochs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache

from tasks.base import Problem, Split
from tasks.names import look_alikes
from tasks.splits import problem_rng, split_of

Sides = dict[Split, list[Problem]]
"""The problems of each split, in the order of the data set."""


def two_sides(
    problems: Sequence[Problem], held_out: Sequence[Problem] | None, held_out_fraction: float, *, name: str
) -> Sides:
    """Problems apart from those held out, given or else a fraction chosen by the content of the prompt.

    Repeats of a prompt fall on one side, and a prompt that is held out is dropped from training.

    Raises:
        ValueError: a side has no problem, or a tracker cannot distinguish two domains; the message starts
            with ``name``, the data set's.
    """
    if twins := look_alikes(problem.domain for problem in [*problems, *(held_out or [])]):
        raise ValueError(
            f"{name}: has the domains {twins[0]!r} and {twins[1]!r}, which a tracker may take for one (they differ by "
            "case, accents or space alone); write both alike, or give them names that differ"
        )
    if held_out is None:
        held_out = [p for p in problems if split_of(p.prompt, held_out_fraction) == "held_out"]
    kept_back = {problem.prompt for problem in held_out}
    train = [problem for problem in problems if problem.prompt not in kept_back]
    if not held_out:
        raise ValueError(
            f"{name}: none of its {len(problems)} prompts is held out at held_out_fraction "
            f"{held_out_fraction}; raise it, add problems, or name a held_out_path"
        )
    if not train:
        raise ValueError(
            f"{name}: all of its {len(problems)} prompts are held out, none is left to train on; "
            f"add problems, or lower held_out_fraction"
        )
    return {"train": train, "held_out": list(held_out)}


def walk(sides: Sides, split: Split, seed: int, index: int) -> Problem:
    """The ``index``-th problem of a split.  Each epoch is a permutation, computed from (seed, epoch)."""
    problems = sides[split]
    epoch, place = divmod(index, len(problems))
    return problems[_permutation(split, seed, epoch, len(problems))[place]]


def digest(sides: Sides) -> str:
    """A hash of all problems in their order: the same for the same content, wherever it was loaded from."""
    found = hashlib.sha256()
    for side in sorted(sides):
        for problem in sides[side]:
            line = json.dumps([side, asdict(problem)], sort_keys=True, default=repr)
            found.update(f"{line}\n".encode())
    return f"sha256:{found.hexdigest()}"


@lru_cache(maxsize=8)
def _permutation(split: Split, seed: int, epoch: int, length: int) -> list[int]:
    order = list(range(length))
    problem_rng(split, seed, epoch).shuffle(order)
    return order
