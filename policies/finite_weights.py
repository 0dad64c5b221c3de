"""Finds weights that are not finite: the parameters that contain them, and their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

MOST_NAMED = 3

CURE = "lower learner.learning_rate or the limits of a loop, or go on from a checkpoint before that"
"""The cure for a policy that was finite when it was loaded."""


def not_finite(model: torch.nn.Module) -> str | None:
    """The parameters and buffers of a model that have nan or infinity in them, each with how many; None without any.

    For a sharded model only this rank's share is checked.
    """
    found = {
        name: (number, tensor.numel())
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
        if (number := count_not_finite(tensor))
    }
    if not found:
        return None
    named = [
        f"{name} ({number:,} of {size:,} numbers)"
        for name, (number, size) in list(found.items())[:MOST_NAMED]
    ]
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return f"{', '.join(named)}{more}"


def why_not_finite(model: torch.nn.Module) -> str:
    """Why what a model gives is not finite, as far as its weights tell: theirs is the fault, or it is not."""
    found = not_finite(model)
    if found is not None:
        return f"these of its weights are not finite: {found}"
    return "all of its weights are finite, so numbers overflow on their way through it"


def count_not_finite(tensor: Tensor) -> int:
    """How many numbers of a tensor are not finite; of one that is spread over ranks, of the share that is here."""
    own = tensor.detach()
    local = getattr(own, "to_local", None)  # the class of such a one takes long to import
    own = own if local is None else local()
    # A finite sum has no other terms, and takes no second tensor; one that is not may just have overflowed.
    if not own.is_floating_point() or bool(torch.isfinite(own.sum())):
        return 0
    return int((~torch.isfinite(own)).sum())
