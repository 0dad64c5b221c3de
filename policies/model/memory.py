"""Estimates the device memory for training a policy, component by component, before any weight is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.sharding import blocks
from policies.statistics.token_statistics import CHUNK_BYTES

if TYPE_CHECKING:  # see loading.py
    from transformers import PreTrainedModel

FLOAT32, BFLOAT16 = 4, 2  # bytes


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """The sizes of a causal language model that memory depends on."""

    parameters: int
    trainable: int
    in_block: int
    """Parameters of one decoder block."""
    num_layers: int
    hidden: int
    intermediate: int
    queries: int
    """Width of all query heads together."""
    keys: int
    """Width of all key heads together, and of the values."""
    vocabulary: int

    @property
    def outside_blocks(self) -> int:
        """Parameters of embeddings, last norm and output head."""
        return self.parameters - self.num_layers * self.in_block


def shape_of(model: PreTrainedModel) -> ModelShape:
    """Read the sizes off a model, which may be on the meta device."""
    config = model.config.get_text_config()
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    layers = blocks(model)
    return ModelShape(
        parameters=sum(p.numel() for p in model.parameters()),
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        in_block=sum(p.numel() for p in layers[0].parameters()),
        num_layers=len(layers),
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        queries=config.num_attention_heads * width,
        keys=config.num_key_value_heads * width,
        vocabulary=model.get_output_embeddings().weight.shape[0],
    )


@dataclass(frozen=True, kw_only=True)
class TrainingSetup:
    """How the model is trained, as far as memory depends on it."""

    rows: int
    """Responses in one forward and backward pass on a device."""
    length: int
    """Prompt and response together [tokens].  Rows are counted as if they shared no prompt (`hidden_states.py`)."""
    shards: int = 1
    """Devices that share weights, gradients and optimiser state (FSDP2); 1 has all of them on each."""
    replicas: int = 1
    """Devices that have all of them each (DDP)."""
    weight_bytes: int = FLOAT32
    compute_bytes: int = FLOAT32
    recompute: bool = False
    """Whether the activations inside a decoder block are made again in the backward pass."""


def activation_bytes_per_token(shape: ModelShape, training: TrainingSetup) -> int:
    """Bytes that the backward pass needs of one token.

    Counted on blocks of Llama and Qwen2 with an attention that keeps no scores: in a block six tensors of the
    hidden width (inputs and outputs of norms, in float32), queries and what attention gives, keys and values,
    and four of the intermediate width.  Source: Korthikanti et al. (2205.05198, equation 2), for gated layers.
    """
    compute = training.compute_bytes
    inside = 6 * shape.hidden * FLOAT32 + compute * (
        2 * shape.queries + 2 * shape.keys + 4 * shape.intermediate
    )
    last_norm = 2 * shape.hidden * FLOAT32
    if training.recompute:
        return shape.num_layers * shape.hidden * compute + inside + last_norm
    return shape.num_layers * inside + last_norm


def cache_bytes_per_token(shape: ModelShape, compute_bytes: int) -> int:
    """Bytes of keys and values of one token in all layers."""
    return 2 * shape.num_layers * shape.keys * compute_bytes


def learner_memory(shape: ModelShape, training: TrainingSetup) -> Mapping[str, int]:
    """Components on one device while the policy is updated [bytes]; AdamW keeps two moments."""
    gathered = shape.outside_blocks + 2 * shape.in_block  # FSDP2 fetches the next block ahead
    half_copies = (
        shape.parameters if training.compute_bytes < training.weight_bytes else 0
    )  # autocast keeps them
    head_gradient = shape.vocabulary * shape.hidden * FLOAT32
    return {
        "weights": shape.parameters * training.weight_bytes // training.shards,
        "gradients": shape.trainable * training.weight_bytes // training.shards,
        "optimiser (two moments)": 2 * shape.trainable * training.weight_bytes // training.shards,
        "gathered weights": (gathered if training.shards > 1 else half_copies) * training.compute_bytes,
        "gradient buckets": shape.trainable * training.weight_bytes if training.replicas > 1 else 0,
        "activations": training.rows * training.length * activation_bytes_per_token(shape, training),
        "logits in chunks": 2 * CHUNK_BYTES + head_gradient,
    }
