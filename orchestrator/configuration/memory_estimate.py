"""Estimates the memory of one device for a run: what takes it, and the setting that lowers each part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.signals import reads_reference
from policies.model.memory import (
    BFLOAT16,
    FLOAT32,
    GIB,
    ModelShape,
    TrainingSetup,
    cache_bytes_per_token,
    learner_memory,
    shape_of,
    system_memory,
)
from policies.model.reference import START
from policies.rollouts.settings import Transformers, Vllm, VllmServer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ASSUMED_PROMPT_TOKENS = 1024
"""Length of a prompt if nothing says how long it can be."""

STATE = ("weights", "gradients", "optimiser (two moments)")
"""What the learner keeps while the engine samples."""

_SPREAD = "set learner.strategy: fsdp2 and take more devices, or train adapters (policy.lora)"
_FEWER_ROWS = "lower learner.micro_batch_size or tokens_per_micro_batch"
_CURES: Mapping[str, str] = {
    **dict.fromkeys((*STATE, "gathered weights"), _SPREAD),
    "gradient buckets": "set learner.strategy: fsdp2",
    "gradients being reduced": "train adapters (policy.lora)",
    "activations": f"{_FEWER_ROWS}, or set learner.recompute_activations",
    **dict.fromkeys(("repeated keys and values", "masks"), _FEWER_ROWS),
    "logits in chunks": _SPREAD,
    **dict.fromkeys(("cache of keys and values", "sampling scores"), "lower rollout.max_batch_size"),
    "engine's copy of the policy": "set rollout.ahead to 0, or take the engine 'vllm_server' on devices of its own",
    "vLLM's share": "lower rollout.engine.memory_fraction, or set rollout.engine.sleep",
    "CUDA graphs": "set rollout.engine.enforce_eager",
}
"""The settings that lower each part.  Those of the system have none that do."""


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
    system: Mapping[str, int]
    """Beside the tensors of both, all the time."""

    @property
    def updating(self) -> Mapping[str, int]:
        """What is there while the policy is updated."""
        return {**self.learner, **(self.engine if self.engine_stays else {}), **self.system}

    @property
    def sampling(self) -> Mapping[str, int]:
        """What is there while responses are sampled."""
        return {**{name: self.learner[name] for name in STATE}, **self.engine, **self.system}

    @property
    def peak(self) -> int:
        """The larger of the two phases."""
        return max(sum(self.updating.values()), sum(self.sampling.values()))

    def rows(self) -> list[tuple[str, str]]:
        """Names and sizes, for a table."""
        shape = self.shape
        parts = {**self.learner, **self.engine, **self.system}
        listed = [
            ("parameters", f"{shape.parameters / 1e9:.2f} billion, {shape.trainable / 1e9:.2f} trained"),
            *((name, f"{size / GIB:.2f} GiB") for name, size in parts.items() if size),
        ]
        when = "all of it at once" if self.engine_stays else "the larger of sampling and updating"
        return [*listed, ("peak", f"{self.peak / GIB:.2f} GiB, {when}")]


def largest(parts: Mapping[str, int]) -> str:
    """The largest of the parts that a setting lowers, its size, and that setting, for a message: most is for …"""
    name = max(_CURES.keys() & parts.keys(), key=lambda name: (parts[name], name))
    return f"{name} ({parts[name] / GIB:.1f} of {sum(parts.values()) / GIB:.1f} GiB); {_CURES[name]}"


def estimate(config: RunConfig, model: PreTrainedModel, device_bytes: float) -> MemoryEstimate:
    """The memory of one device for a run of ``config`` with ``model``, which may be on the meta device."""
    learner, engine = config.learner, config.rollout.engine
    num_devices = learner.devices * learner.num_nodes
    length = longest_row(config)
    half = learner.precision != "32-true"  # auto is of a GPU, whose memory this is about
    budget = learner.tokens_per_micro_batch
    responses = learner.prompts_per_iteration * learner.group_size // (num_devices * learner.minibatches)
    training = TrainingSetup(
        rows=min(learner.micro_batch_size or responses, responses) if budget is None else 1,
        length=length if budget is None else min(budget, responses * length),
        packed=budget is not None,
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
    beside = engine if isinstance(engine, Vllm) else None
    is_apart = config.rollout.ahead > 0 and not isinstance(engine, VllmServer)  # in a process of its own
    if is_apart:
        taken["engine's copy of the policy"] = shape.parameters * training.weight_bytes
    system = dict(
        system_memory(
            several_devices=num_devices > 1,
            cuda_graphs=beside is not None and not beside.enforce_eager,
            num_processes=1 + is_apart,
        )
    )
    if reads_reference(config.loops) and (config.policy.reference != START or config.policy.lora is None):
        # Taken to be as large as the policy, which another model need not be.
        system |= {"reference policy": shape.parameters * training.weight_bytes // training.shards}
    return MemoryEstimate(
        shape=shape,
        learner=learner_memory(shape, training),
        engine=taken,
        engine_stays=is_apart or (beside is not None and not beside.sleep),
        system=system,
    )


def longest_row(config: RunConfig) -> int:
    """Longest prompt and response together [tokens]."""
    engine = config.rollout.engine
    known = engine.max_model_len if isinstance(engine, Vllm) else None
    return known or config.max_response_tokens + ASSUMED_PROMPT_TOKENS
