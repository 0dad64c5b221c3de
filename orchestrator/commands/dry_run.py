"""The option ``entrostat validate --dry-run``: estimates the memory of each device without loading weights.

The model is built from its ``config.json`` on torch's meta device, where tensors have a shape and no storage.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.configuration.memory_estimate import MemoryEstimate, estimate, largest, longest_row
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.resolve import Campaign
from orchestrator.errors import ConfigError
from policies.model.memory import BFLOAT16, FLOAT32, GIB, ModelShape, cache_bytes_per_token
from policies.model.sources import BUILTIN
from policies.model.trainable import add_adapters, train_last_layers
from policies.rollouts.settings import Vllm

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


def check_share(config: RunConfig, shape: ModelShape, device_bytes: float) -> str | None:
    """What is wrong with vLLM's share of the device; None where nothing is."""
    engine = config.rollout.engine
    if not isinstance(engine, Vllm):
        return None
    width = FLOAT32 if engine.dtype == "float32" else BFLOAT16
    whole = shape.parameters * width + longest_row(config) * cache_bytes_per_token(shape, width)
    one = whole / engine.tensor_parallel_size
    share = engine.memory_fraction * device_bytes
    if one <= share:
        return None
    return (
        f"rollout.engine.memory_fraction: {engine.memory_fraction:g} of {device_bytes / GIB:.0f} GiB must hold "
        f"vLLM's weights and one sequence, {one / GIB:.1f} GiB; raise it or tensor_parallel_size, or take the engine "
        "'vllm_server' on devices of its own"
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
            phase = max((needed.updating, needed.sampling), key=lambda parts: sum(parts.values()))
            wrong = (
                f"needs {needed.peak / GIB:.1f} GiB of a device's {device_gib:g}, most of it for {largest(phase)}; a shorter "
                "rollout.max_tokens helps too"
            )
        if wrong is not None:
            raise ConfigError(f"{campaign.path}: arm {arm.name!r}: {wrong}")
    return found
