"""The trained part of a policy: all of it, its last layers, or low-rank adapters beside frozen weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:  # see loading.py
    from torch import Tensor
    from transformers import PreTrainedModel

ADAPTER = "default"
"""Peft's name for the adapters; a policy has one set of them."""

_ADAPTER_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): W x + (alpha / rank) B A x, only A and B trained.

    B starts at zero, so the policy starts as its base.  There is no dropout: the policy that learns and whose
    entropy is measured must be the one that was sampled from.
    """

    rank: int = 16
    """Columns of B and rows of A."""

    alpha: float = 32.0
    """Scale of the adapters, divided by the rank."""

    target_modules: tuple[str, ...] = ()
    """Ends of the names of the linear layers that get one, such as ``q_proj``; empty for all but the output head."""

    merge: bool = False
    """Whether the trained policy is saved whole, the adapters added to its weights, or as adapters alone."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank must be >= 1, got {self.rank}")
        if not 0 < self.alpha < math.inf:
            raise ValueError(f"alpha must be > 0 and finite, got {self.alpha}")


def add_adapters(model: PreTrainedModel, settings: Lora) -> None:
    """Put adapters into the layers of ``model``, which stays what it is, and freeze all the rest.

    Raises:
        ValueError: no layer has such a name, or one of them cannot have an adapter.
    """
    from peft import LoraConfig

    from policies.model.skeleton import beside_real_weights

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # peft only divides it
        target_modules=list(settings.target_modules) or "all-linear",
        task_type="CAUSAL_LM",
    )
    names = {module: f".{name}" for name, module in model.named_modules()}
    for target in settings.target_modules:
        if not any(name.endswith(f".{target}") for name in names.values()):
            raise ValueError(f"policy.lora.target_modules: the model has no layer {target!r}; name others")
        if names[model.get_output_embeddings()].endswith(f".{target}"):
            raise ValueError(
                "policy.lora.target_modules: must leave out the output head, from whose weights the token statistics "
                f"are made, got {target!r}; name other layers"
            )
    with torch.random.fork_rng(devices=[]), beside_real_weights(model):
        torch.manual_seed(_ADAPTER_SEED)
        try:
            model.add_adapter(config, ADAPTER)
        except ValueError as error:
            raise ValueError(f"policy.lora.target_modules: {error}") from error
    model.eval()


def train_last_layers(model: PreTrainedModel, number: int) -> None:
    """Freeze all but the last ``number`` layers.

    Raises:
        ValueError: there are not so many.
    """
    layers = max(
        (child for child in model.get_decoder().children() if isinstance(child, torch.nn.ModuleList)), key=len
    )
    if number > len(layers):
        raise ValueError(
            f"policy.trainable_layers: must be at most the {len(layers)} layers that the model has, got {number}; "
            "lower it, or remove it to train all of the model"
        )
    model.requires_grad_(False)
    for layer in layers[-number:]:
        layer.requires_grad_(True)


def has_adapters(model: PreTrainedModel) -> bool:
    """Whether `add_adapters` was here."""
    return bool(getattr(model, "_hf_peft_config_loaded", False))


@contextmanager
def adapters_off(model: PreTrainedModel) -> Iterator[None]:
    """The model without its adapters for a while: the base that it started from."""
    model.disable_adapters()
    try:
        yield
    finally:
        model.enable_adapters()


def merged_weights(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Names and weights as the model has them without adapters, what those have learned added in.

    A model without adapters gives its own weights.
    """
    for name, weight in model.state_dict().items():
        owner, _, own_name = name.rpartition(".base_layer.")
        if owner and own_name == "weight":
            yield f"{owner}.weight", weight + model.get_submodule(owner).get_delta_weight(ADAPTER).detach()
        elif owner:
            yield f"{owner}.{own_name}", weight
        elif ".lora_" not in name:
            yield name, weight


def fold_in_adapters(model: PreTrainedModel) -> None:
    """Add what adapters have learned to the weights of ``model`` and take them out of it."""
    layers = {name: layer for name, layer in model.named_modules() if hasattr(layer, "get_delta_weight")}
    for name, layer in layers.items():
        layer.merge()
        model.set_submodule(name, layer.get_base_layer())
    model.requires_grad_(True)
    model._hf_peft_config_loaded = False
    del model.peft_config
