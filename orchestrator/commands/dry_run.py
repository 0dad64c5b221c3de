"""The option ``entrostat validate --dry-run``: estimates the memory of each device without loading weights.

The model is built from its ``config.json`` on torch's meta device, where tensors have a shape and no storage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.resolve import Campaign
from orchestrator.configuration.signals import reads_reference
from orchestrator.errors import ConfigError
from policies.model.memory import (
    BFLOAT16,
    FLOAT32,
    ModelShape,
    TrainingSetup,
    cache_bytes_per_token,
    learner_memory,
    shape_of,
)
from policies.model.reference import START
from policies.model.sources import BUILTIN
from policies.model.trainable import add_adapters, train_last_layers
from policies.rollouts.settings import Transformers, Vllm

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

GIB = 2**30
ASSUMED_PROMPT_TOKENS = 1024
"""Length of a prompt if nothing says how long it can be."""


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Memory of one device [bytes], component by component."""

    shape: ModelShape
    learner: Mapping[str, int]
    """While the policy is updated."""
    engine: Mapping[str, int]
    """While it samples, beside weights, gradients and optimiser."""
    engine_stays: bool
    """Whether the engine keeps its memory during the update."""

    @property
    def peak(self) -> int:
        """The larger of the two phases."""
        updating = sum(self.learner.values()) + (sum(self.engine.values()) if self.engine_stays else 0)
        state = sum(self.learner[name] for name in ("weights", "gradients", "optimiser (two moments)"))
        return max(updating, state + sum(self.engine.values()))

    def rows(self) -> list[tuple[str, str]]:
        """Names and sizes, for a table."""
        shape = self.shape
        listed = [
            ("parameters", f"{shape.parameters / 1e9:.2f} billion, {shape.trainable / 1e9:.2f} trained"),
            *((name, f"{size / GIB:.2f} GiB") for name, size in self.learner.items()),
            *((name, f"{size / GIB:.2f} GiB") for name, size in self.engine.items()),
        ]
        when = "all of it at once" if self.engine_stays else "the larger of sampling and updating"
        return [*listed, ("peak", f"{self.peak / GIB:.2f} GiB, {when}")]


def estimate(config: RunConfig, model: PreTrainedModel, device_bytes: float) -> MemoryEstimate:
    """The memory of one device for a run of ``config`` with ``model``, which may be on the meta device."""
    learner, engine = config.learner, config.rollout.engine
    num_devices = learner.devices * learner.num_nodes
    length = _length(config)
    half = learner.precision != "32-true"  # auto is of a GPU, whose memory this is about
    responses = learner.prompts_per_iteration * learner.group_size // (num_devices * learner.minibatches)
    training = TrainingSetup(
        rows=min(learner.micro_batch_size or responses, responses),
        length=length,
        shards=num_devices if learner.strategy == "fsdp2" else 1,
        replicas=1 if learner.strategy == "fsdp2" else num_devices,
        weight_bytes=FLOAT32,
        compute_bytes=BFLOAT16 if half else FLOAT32,
        recompute=learner.recompute_activations,
    )
    shape = shape_of(model)
    taken: dict[str, int] = {}
    if isinstance(engine, Transformers):
        rows = min(config.rollout.max_batch_size, responses * learner.minibatches)
        taken["cache of keys and values"] = (
            rows * length * cache_bytes_per_token(shape, training.compute_bytes)
        )
        taken["sampling scores"] = 3 * rows * shape.vocabulary * FLOAT32
    elif isinstance(engine, Vllm):
        taken["vLLM's share"] = round(engine.memory_fraction * device_bytes)
    stays = isinstance(engine, Vllm) and not engine.sleep
    updating = dict(learner_memory(shape, training))
    if reads_reference(config.loops) and (config.policy.reference != START or config.policy.lora is None):
        # Taken to be as large as the policy, which another model need not be.
        updating["reference policy"] = shape.parameters * training.weight_bytes // training.shards
    return MemoryEstimate(shape=shape, learner=updating, engine=taken, engine_stays=stays)


def check_share(config: RunConfig, shape: ModelShape, device_bytes: float) -> str | None:
    """What is wrong with vLLM's share of the device; None where nothing is."""
    engine = config.rollout.engine
    if not isinstance(engine, Vllm):
        return None
    width = FLOAT32 if engine.dtype == "float32" else BFLOAT16
    weights = shape.parameters * width
    one = weights + _length(config) * cache_bytes_per_token(shape, width)
    share = engine.memory_fraction * device_bytes
    if one <= share:
        return None
    return (
        f"rollout.engine.memory_fraction: {engine.memory_fraction:g} of {device_bytes / GIB:.0f} GiB must hold "
        f"vLLM's weights and one sequence, {one / GIB:.1f} GiB; raise it, or take the engine 'vllm_server' on "
        "devices of its own"
    )


def empty_model(config: RunConfig, campaign: Path) -> PreTrainedModel:
    """The policy of a run without its weights, with its trained part marked.

    Raises:
        ConfigError: its shape cannot be read.
    """
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(_model_config(config, campaign))
    if config.policy.lora is not None:
        with torch.device("meta"):
            add_adapters(model, config.policy.lora)
    if config.policy.trainable_layers is not None:
        train_last_layers(model, config.policy.trainable_layers)
    return model


def _model_config(config: RunConfig, campaign: Path) -> PretrainedConfig:
    from transformers import AutoConfig

    source = config.policy.source
    if source == BUILTIN:
        raise ConfigError(f"{campaign}: policy.source: {BUILTIN!r} needs no dry run: it fits anywhere")
    # Beside the campaign, so that a recipe can be checked where the hub cannot be reached.
    beside = campaign.parent / "models" / source
    place = str(beside if (beside / "config.json").is_file() else source)
    try:
        return AutoConfig.from_pretrained(place, trust_remote_code=config.policy.trust_remote_code)  # nosec B615  # the source that the user named
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{campaign}: policy.source: no config.json of {source!r} can be read, neither at {beside} nor from "
            f"the hub ({str(error).splitlines()[0]}); put the model's config.json there"
        ) from error


def _length(config: RunConfig) -> int:
    """Longest prompt and response together [tokens]."""
    engine = config.rollout.engine
    known = engine.max_model_len if isinstance(engine, Vllm) else None
    return known or config.max_response_tokens + ASSUMED_PROMPT_TOKENS


def dry_run(campaign: Campaign, device_gib: float) -> list[tuple[str, MemoryEstimate]]:
    """An estimate for each arm whose memory differs from those before, named by the first of them.

    Raises:
        ConfigError: an arm does not fit a device of ``device_gib``.
    """
    device_bytes = device_gib * GIB
    found: list[tuple[str, MemoryEstimate]] = []
    models: dict[str, PreTrainedModel] = {}
    for arm in campaign.arms:
        key = repr(arm.config.policy)
        if key not in models:
            models[key] = empty_model(arm.config, campaign.path)
        needed = estimate(arm.config, models[key], device_bytes)
        if all(needed != other for _, other in found):
            found.append((arm.name, needed))
        wrong = check_share(arm.config, needed.shape, device_bytes)
        if wrong is None and needed.peak > device_bytes:
            largest = max(needed.learner, key=lambda name: needed.learner[name])
            wrong = (
                f"needs {needed.peak / GIB:.1f} GiB of a device's {device_gib:g}, most of it for {largest} "
                f"({needed.learner[largest] / GIB:.1f} GiB); lower learner.micro_batch_size or rollout.max_tokens, set "
                "learner.recompute_activations or learner.strategy: fsdp2, or take more devices"
            )
        if wrong is not None:
            raise ConfigError(f"{campaign.path}: arm {arm.name!r}: {wrong}")
    return found
