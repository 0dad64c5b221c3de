"""A policy's weights for an engine that has its own: whole tensors by the names of a checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from policies.model.trainable import merged_weights
from policies.sharding import full

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from policies.model.loading import LoadedPolicy


def whole_weights(policy: LoadedPolicy) -> Iterator[tuple[str, Tensor]]:
    """Every weight once, what adapters have learned added in.

    Tied ones come under their first name; shards are gathered, by all ranks together.
    """
    return ((name, full(weight)) for name, weight in _own_weights(policy))


class Announced(NamedTuple):
    """A weight that will come."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]


class HalfWeights:
    """`whole_weights` in bfloat16, in the shape of vLLM's ``WeightSource``: what will come, then the weights.

    A shard is rounded before it is gathered, so that half as much travels.  Each pass gathers each weight once,
    and the announcement none.
    """

    def __init__(self, policy: LoadedPolicy) -> None:
        self.policy = policy

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for name, weight in _own_weights(self.policy):
            yield name, full(weight.to(torch.bfloat16))

    def metadata(self) -> list[Announced]:
        """What an iteration gives, in its order."""
        return self._announced

    @cached_property
    def _announced(self) -> list[Announced]:
        return [
            Announced(name, torch.bfloat16, tuple(weight.shape)) for name, weight in _own_weights(self.policy)
        ]


def save_configuration(policy: LoadedPolicy, folder: Path) -> None:
    """What an engine needs to set a model up, weights excepted."""
    folder.mkdir(parents=True, exist_ok=True)
    config = deepcopy(policy.model.config)
    if not config.architectures:  # a model made here; without a name vLLM takes it for one that embeds
        config.architectures = [type(policy.model).__name__.removeprefix("FSDP")]
    config.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)


def save_weights(policy: LoadedPolicy, folder: Path, *, write: bool = True) -> None:
    """A model folder with the weights as they are now, written beside ``folder`` and renamed.

    Every rank gathers; the one that has ``write`` writes.
    """
    from safetensors.torch import save_file

    weights = {}
    for name, weight in whole_weights(policy):
        if write:
            weights[name] = weight.cpu().contiguous()
    if not write:
        return
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    save_configuration(policy, unfinished)
    save_file(weights, unfinished / "model.safetensors", metadata={"format": "pt"})
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def _own_weights(policy: LoadedPolicy) -> Iterator[tuple[str, Tensor]]:
    """Weights or this rank's shards of them, without those that are tied to an earlier one."""
    tied = tied_names(policy.model)
    return ((name, weight.detach()) for name, weight in merged_weights(policy.model) if name not in tied)


def tied_names(model: PreTrainedModel) -> set[str]:
    """Names that a model has for a weight besides its first one."""
    if not model.config.get_text_config().tie_word_embeddings:
        return set()
    return set(model._tied_weights_keys or ())
