"""Rollouts that are still to be learned from, as a checkpoint keeps them: plain numbers and tensors.

Problems are not kept, since they are drawn again by their addresses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from orchestrator.training.batch_shares import Drawing, Share
from policies.rollouts.base import Completion, Sampling
from tasks import Problem
from tasks.grading.batch import Grades

_TENSORS = ("tokens", "logprobs", "finished", "versions", "turn")


def stored(share: Share, sampling: Sampling) -> dict[str, Any]:
    """A whole batch, and how it was sampled."""
    return {
        "sampling": asdict(sampling),
        "problems": [problem.text for problem in share.problems],
        "completions": [{name: getattr(each, name) for name in _TENSORS} for each in share.completions],
        "grades": asdict(share.grades),
        "seconds": share.seconds,
        "drawing": None if share.drawing is None else asdict(share.drawing),
    }


def restored(
    content: dict[str, Any],
    problem_at: Callable[[int, int], Problem],
    num_problems: int,
    num_samples: int,
    now: Sampling,
) -> tuple[Share, Sampling] | None:
    """The batch again, and how it was sampled; None where it is not the one that would be drawn now.

    Args:
        content: what `stored` gave.
        problem_at: the problem for a place and a draw of the iteration.
        num_problems: P.
        num_samples: G.
        now: how it would be sampled; the temperature may differ, as commands have changed since.
    """
    sampling = Sampling(**content["sampling"])
    drawing = None if content["drawing"] is None else Drawing(**content["drawing"])
    draws = [0] * num_problems if drawing is None else drawing.draws
    if (sampling.seed, sampling.max_tokens) != (now.seed, now.max_tokens):
        return None
    if (len(draws), len(content["completions"])) != (num_problems, num_problems * num_samples):
        return None
    problems = [problem_at(place, draw) for place, draw in enumerate(draws)]
    if [problem.text for problem in problems] != content["problems"]:
        return None
    share = Share(
        problems=problems,
        completions=[Completion(**each) for each in content["completions"]],
        grades=Grades(**content["grades"]),
        seconds=content["seconds"],
        drawing=drawing,
    )
    return share, sampling
