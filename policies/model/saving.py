"""Writes a model folder as `from_pretrained` reads it, also where no process has all of its weights."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import distributed as dist

from policies.sharding import full, own_class

if TYPE_CHECKING:  # see loading.py
    from torch import Tensor
    from transformers import PreTrainedModel

FILE_BYTES = 2 * 2**30
"""Size of a file of weights that are gathered one after the other; as much is in memory at once."""


def save_model(model: PreTrainedModel, folder: Path) -> None:
    """Write a model that this process has all of, by itself; transformers lets no rank but the first write."""
    if dist.is_initialized() and dist.get_rank() != 0:
        save_one_by_one(model, model.state_dict().items(), folder)
    else:
        model.save_pretrained(folder)


def save_weights(model: PreTrainedModel, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Write a model like ``model``, but without adapters and not sharded, that has these weights."""
    shell = _shell(model)
    shell.load_state_dict(weights, assign=True)
    shell.tie_weights()
    shell.generation_config = model.generation_config
    shell.save_pretrained(folder)


def save_one_by_one(
    model: PreTrainedModel,
    weights: Iterable[tuple[str, Tensor]],
    folder: Path,
    *,
    write: bool = True,
    file_bytes: int = FILE_BYTES,
) -> None:
    """`save_weights`, holding no more of them than ``file_bytes`` and the largest one.

    Every rank runs through all weights, because that gathers them, and one has to ``write``.  Families whose
    checkpoints have other weights than their models (fused experts) are converted by transformers, all of it at once.

    Raises:
        OSError, SafetensorError: the disk does not take it; raised when the ranks have gathered the last weight.
    """
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors import SafetensorError
    from safetensors.torch import save_file
    from transformers.core_model_loading import revert_weight_conversion

    owners: dict[int, str] = {}
    shapes = _shell(model).state_dict(keep_vars=True)
    named = {name: weight for name, weight in shapes.items() if owners.setdefault(id(weight), name) == name}
    if revert_weight_conversion(model, dict(named)).keys() != named.keys():
        gathered = {name: weight.cpu() for name, weight in weights if write}
        if write:
            save_weights(model, gathered, folder)
        return
    files = split_torch_state_dict_into_shards(
        named, filename_pattern="model{suffix}.safetensors", max_shard_size=file_bytes
    )
    begun: dict[str, dict[str, Tensor]] = defaultdict(dict)
    problem: Exception | None = None
    for name, weight in weights:
        if not write or problem is not None or name not in named:
            continue
        file = files.tensor_to_filename[name]
        begun[file][name] = weight.detach().to("cpu", torch.float32).contiguous()
        if len(begun[file]) == len(files.filename_to_tensors[file]):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                save_file(begun.pop(file), folder / file, metadata={"format": "pt"})
            except (OSError, SafetensorError) as error:
                problem = error  # the others gather the rest with this rank, and would wait for it
                begun.clear()
    if problem is not None:
        raise problem
    if not write:
        return
    if files.is_sharded:
        index = {"metadata": files.metadata, "weight_map": files.tensor_to_filename}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
    config = deepcopy(model.config)
    config.architectures, config.dtype = [own_class(model).__name__], "float32"
    config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)


def save_adapters(model: PreTrainedModel, folder: Path, *, write: bool = True) -> None:
    """Write what adapters have learned and the name of their base; gathered by every rank, one has to ``write``."""
    gathered = {}
    for name, weight in model.state_dict().items():
        if ".lora_" in name:
            whole = full(weight)
            if write:
                gathered[name] = whole.cpu()
    if write:
        model.save_pretrained(folder, state_dict=gathered)


def _shell(model: PreTrainedModel) -> PreTrainedModel:
    """The model on the meta device: no memory, no chance drawn."""
    with torch.device("meta"):
        shell: PreTrainedModel = own_class(model)(model.config)
    shell.tie_weights()
    return shell
