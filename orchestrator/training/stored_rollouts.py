"""Rollouts that are still to be learned from, as a checkpoint keeps them: plain numbers and tensors.

Problems are not kept, since they are drawn again by their addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor

from orchestrator.training.batch_shares import Cut, Drawing, Share
from orchestrator.training.prompts import PromptLoader
from policies.rollouts.base import Completion, Sampling
from tasks import Problem
from tasks.grading.batch import Grades

_TENSORS = ("tokens", "logprobs", "finished", "versions", "turn")


def stored(share: Share, sampling: Sampling) -> dict[str, Any]:
    """A whole batch, and how it was sampled."""
    return {
        "sampling": asdict(sampling),
        "problems": [problem.text for problem in share.problems],
        "completions": [stored_response(each) for each in share.completions],
        "grades": asdict(share.grades),
        "seconds": share.seconds,
        "drawing": None if share.drawing is None else asdict(share.drawing),
        "cut": None if share.cut is None else asdict(share.cut),
    }


def stored_response(response: Completion) -> dict[str, Any]:
    """The arguments of a `Completion`, without what is no plain number or tensor."""
    return {name: getattr(response, name) for name in _TENSORS}


def restored(
    content: dict[str, Any],
    prompts: PromptLoader,
    iteration: int,
    num_samples: int,
    now: Sampling,
    encode: Callable[[Sequence[Problem]], list[Tensor]],
) -> tuple[Share, Sampling] | None:
    """The batch again, and how it was sampled; None where it is not the one that would be drawn now.

    Args:
        content: what `stored` gave.
        prompts: draws the problems again.
        iteration: whose batch it is.
        num_samples: G.
        now: how it would be sampled; the temperature may differ, as commands have changed since.
        encode: gives the token ids of the problems' prompts.
    """
    sampling = Sampling(**content["sampling"])
    drawing = None if content["drawing"] is None else Drawing(**content["drawing"])
    cut = Cut(**content["cut"]) if content.get("cut") else None  # which checkpoints of earlier versions lack
    P = prompts.prompts_per_iteration
    if (sampling.seed, sampling.max_tokens) != (now.seed, now.max_tokens):
        return None
    if (len(content["problems"]), len(content["completions"])) != (P, P * num_samples):
        return None
    if cut is not None:
        problems = [prompts.numbered(*address) for address in zip(cut.numbers, cut.begun, strict=True)]
    else:
        draws = [0] * P if drawing is None else drawing.draws
        problems = [prompts.problem(iteration, place, draw) for place, draw in enumerate(draws)]
    if [problem.text for problem in problems] != content["problems"]:
        return None
    share = Share(
        problems=problems,
        prompts=encode(problems),
        completions=[Completion(**each) for each in content["completions"]],
        grades=Grades(**content["grades"]),
        seconds=content["seconds"],
        drawing=drawing,
        cut=cut,
    )
    return share, sampling
