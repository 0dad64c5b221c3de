"""A model without weights, which are read once it is spread over ranks: each reads its own share from the files.

So no process ever holds more of a policy than its share and one tensor.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:  # see loading.py
    from torch import Tensor
    from transformers import PreTrainedModel

PLAIN = (torch.float32, torch.bfloat16, torch.float16)
"""Types of weights that are read as they stand; others are quantised, and transformers knows how."""


def skeleton(name: str, *, trust_remote_code: bool = False) -> tuple[PreTrainedModel, Path] | None:
    """The model of a folder or hub id with parameters on the meta device, in evaluation mode, and the folder to `fill` it from.

    None where the files hold other tensors than the model has, which transformers has to convert: adapters,
    quantised weights, experts that it fuses, files of pickles.
    """
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    folder = _local(name)
    if not any(folder.glob("*.safetensors")) or (folder / "adapter_config.json").is_file():
        return None
    config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)  # nosec B615  # a local folder
    if getattr(config, "quantization_config", None) is not None:
        return None
    with init_empty_weights(include_buffers=False):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            config, dtype=torch.float32, trust_remote_code=trust_remote_code
        )
    model.tie_weights()
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder)  # nosec B615  # a local folder
    known = _reader(folder).read_metadata().state_dict_metadata
    for names, tensor in _wanted(model):
        found: Any = next((known[name] for name in names if name in known), None)
        if found is None or found.size != tensor.shape or found.properties.dtype not in PLAIN:
            return None
    return model.eval(), folder


def fill(model: PreTrainedModel, folder: Path, device: torch.device) -> None:
    """Give a sharded skeleton its weights, on a device; what is there already, such as new adapters, stays.

    Every rank reads by itself.
    """
    wanted = [
        (names, tensor)
        for names, tensor in _wanted(model)
        if tensor.is_meta or not isinstance(tensor, torch.nn.Parameter)
    ]
    made: dict[int, torch.nn.Parameter] = {}
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            if weight.is_meta:
                new = torch.nn.Parameter(torch.empty_like(weight, device=device), weight.requires_grad)
                setattr(module, name, made.setdefault(id(weight), new))
    reader = _reader(folder)
    known = reader.read_metadata().state_dict_metadata
    targets = {
        next(name for name in names if name in known): made.get(id(tensor), tensor).detach()
        for names, tensor in wanted
    }
    read_alone(targets, reader)


def read_alone(targets: dict[str, Any], reader: Any) -> None:
    """Read a checkpoint's tensors into these, or what this rank has of them; no rank waits for another."""
    from torch.distributed.checkpoint.state_dict_loader import load

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # by no_dist
        load(targets, storage_reader=reader, no_dist=True)


@contextmanager
def beside_real_weights(model: PreTrainedModel) -> Iterator[None]:
    """What is put beside weights on the meta device becomes real meanwhile: those look like ones of this machine.

    They take no memory, and keep what is decided on them: whether they are trained.
    """
    empty = [
        (module, name, weight)
        for module in model.modules()
        for name, weight in module.named_parameters(recurse=False)
        if weight.is_meta
    ]
    for module, name, weight in empty:
        stand_in = torch.empty((), dtype=weight.dtype).expand(weight.shape)
        setattr(module, name, torch.nn.Parameter(stand_in, weight.requires_grad))
    try:
        yield
    finally:
        for module, name, weight in empty:
            weight.requires_grad_(getattr(module, name).requires_grad)
            setattr(module, name, weight)


def _wanted(model: PreTrainedModel) -> Iterator[tuple[list[str], Tensor]]:
    """Every tensor that a checkpoint of the base has, once, and its names there, of which tied weights have several."""
    names: dict[int, list[str]] = {}
    tensors: dict[int, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if ".lora_" not in name:
            names.setdefault(id(tensor), []).append(name.replace(".base_layer.", "."))
            tensors[id(tensor)] = tensor
    return ((names[key], tensors[key]) for key in names)


def _reader(folder: Path) -> Any:
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    return HuggingFaceStorageReader(str(folder))


def _local(name: str) -> Path:
    """The folder of a model; what the hub has of it is downloaded."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, allow_patterns=["*.safetensors", "*.json"]))  # nosec B615  # what the user named
