"""Recomputes activations in the backward pass instead of keeping them: less memory for a third more computing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from policies.sharding import blocks

if TYPE_CHECKING:  # see loading.py
    from transformers import PreTrainedModel


def recompute_activations(model: PreTrainedModel) -> None:
    """Keep only what enters each decoder block, in place; gradients are the same.

    transformers' own gradient checkpointing is for models in training mode, and ours stay in evaluation mode
    (see `policies.model.loading.load_pretrained`).  To be called before the model is sharded.
    """
    for block in blocks(model):
        block.forward = partial(_recomputed, block.forward)


def _recomputed(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    from torch.utils.checkpoint import checkpoint

    return checkpoint(forward, *args, use_reentrant=False, **kwargs)
