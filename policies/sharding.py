"""A policy spread over processes: each holds a share of every parameter (FSDP2).

A decoder block is gathered when it runs and given back after; what is around the blocks (embeddings, last
norm, output head) is gathered for the time between the forward and the end of the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:  # takes half as long to import as torch, and reading a campaign comes through here
    from torch import Tensor
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import FSDPModule
    from transformers import PreTrainedModel

FORWARD = "forward_while_whole"
"""The method of a sharded model inside which its parameters are there as tensors."""


def shard(model: PreTrainedModel, mesh: DeviceMesh, *, half: bool, run: Callable[..., Any]) -> None:
    """Spread the parameters of ``model`` over a mesh, in place.

    Args:
        model: all of it is here, on every rank alike.
        mesh: of the ranks, one-dimensional.
        half: gather weights and compute in bfloat16; the shares of what is trained, and gradients between ranks, stay
            float32.
        run: what the model's method ``FORWARD`` does, given the model; it returns tensors.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if half else None, reduce_dtype=torch.float32 if half else None
    )
    if half:
        # As it is gathered anyway; float32 is for what is trained, whose steps are below the rounding of half of it.
        for weight in model.parameters():
            if not weight.requires_grad:
                weight.data = weight.data.bfloat16()
    for block in blocks(model):
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    setattr(model, FORWARD, MethodType(run, model))
    register_fsdp_forward_method(model, FORWARD)


def blocks(model: PreTrainedModel) -> torch.nn.ModuleList:
    """The decoder's blocks, in order."""
    lists = [child for child in model.get_decoder().children() if isinstance(child, torch.nn.ModuleList)]
    return max(lists, key=len)


def is_sharded(model: torch.nn.Module) -> bool:
    """Whether `shard` was here."""
    return hasattr(model, FORWARD)


@contextmanager
def whole(model: torch.nn.Module) -> Iterator[None]:
    """Every rank has all of the parameters for a while, and runs the model without waiting for the others.

    All ranks have to come here.  A model that is not sharded is whole.
    """
    units = _units(model) if is_sharded(model) else []
    for unit in units[:1]:
        # Else a part that is run by itself (an engine reads prompts with the decoder) takes itself for the model.
        unit._get_fsdp_state()._lazy_init()
    for unit in units:
        unit.set_reshard_after_forward(False, recurse=False)
        unit.unshard()
    try:
        yield
    finally:
        for number, unit in enumerate(units):
            unit.set_reshard_after_forward(number > 0, recurse=False)  # the first is the model, see above
            unit.reshard()


@contextmanager
def given_back(model: torch.nn.Module) -> Iterator[None]:
    """What a forward pass without a backward one leaves gathered around the blocks is given back at the end."""
    try:
        yield
    finally:
        for unit in _units(model)[:1]:
            unit.reshard()


def full(tensor: Tensor) -> Tensor:
    """A parameter or a norm that may be spread over ranks, all of it on each.  All ranks have to come here."""
    gather = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


def own_class(model: PreTrainedModel) -> type[PreTrainedModel]:
    """The class of the model before it was sharded, which mixed one into it."""
    kind = type(model)
    return kind.__mro__[2] if is_sharded(model) else kind


def _units(model: torch.nn.Module) -> list[FSDPModule]:
    from torch.distributed.fsdp import FSDPModule

    return [unit for unit in model.modules() if isinstance(unit, FSDPModule)]
