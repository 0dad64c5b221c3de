"""A policy's weights for an engine that has its own: whole tensors by the names of a checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from policies.sharding import full

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from policies.model.loading import LoadedPolicy


def whole_weights(policy: LoadedPolicy) -> Iterator[tuple[str, Tensor]]:
    """Every weight once, what adapters have learned added in.

    Tied ones come under their first name; shards are gathered, by all ranks together.
    """
    tied = tied_names(policy.model)
    for name, weight in policy.weights():
        if name not in tied:
            yield name, full(weight.detach())


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

    weights = {name: weight.cpu().contiguous() for name, weight in whole_weights(policy)}
    if not write:
        return
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    save_configuration(policy, unfinished)
    save_file(weights, unfinished / "model.safetensors", metadata={"format": "pt"})
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def tied_names(model: PreTrainedModel) -> set[str]:
    """Names that a model has for a weight besides its first one."""
    if not model.config.get_text_config().tie_word_embeddings:
        return set()
    return set(model._tied_weights_keys or ())
