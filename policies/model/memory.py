"""Estimates the device memory for training a policy, component by component, before any weight is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.sharding import blocks
from policies.statistics.token_statistics import GPU_CHUNK_BYTES

if TYPE_CHECKING:  # see loading.py
    from transformers import PreTrainedModel

FLOAT32, BFLOAT16 = 4, 2  # bytes
GIB = 2**30
CUDA_CONTEXT_BYTES, CUDA_GRAPH_BYTES, NCCL_BYTES = 1 * GIB, 3 * GIB, 8 * GIB
"""What a process, vLLM's recorded kernels and the communication of several devices take: the upper ends of what
is reported, 10 to 15 GB together; none was measured here."""


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """The sizes of a causal language model that memory depends on."""

    parameters: int
    trainable: int
    in_block: int
    """Parameters of one decoder block."""
    num_layers: int
    num_trained_layers: int
    """Last blocks that a gradient passes through: all from the first in which something is trained."""
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
    learns = [
        any(p.requires_grad for p in part.parameters()) for part in (model.get_input_embeddings(), *layers)
    ]
    first = max(0, learns.index(True) - 1) if any(learns) else len(layers)
    return ModelShape(
        parameters=sum(p.numel() for p in model.parameters()),
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        in_block=sum(p.numel() for p in layers[0].parameters()),
        num_layers=len(layers),
        num_trained_layers=len(layers) - first,
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
    packed: bool = False
    """Whether rows are packed (`packed_rows.py`): ``length`` is then the token budget of the one ``row``."""
    shards: int = 1
    """Devices that share weights, gradients and optimiser state (FSDP2); 1 has all of them on each."""
    replicas: int = 1
    """Devices that have all of them each (DDP)."""
    weight_bytes: int = FLOAT32
    compute_bytes: int = FLOAT32
    recompute: bool = False
    """Whether the activations inside a decoder block are made again in the backward pass."""

    @property
    def is_masked(self) -> bool:
        """Whether attention is given a mask: rows of other lengths, or a policy that is spread over devices.

        Then queries that share a key and a value have a copy of both each, since attention takes no groups with a
        mask (transformers, ``use_gqa_in_sdpa``).
        """
        return not self.packed and (self.rows > 1 or self.shards > 1)


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


def masked_attention_bytes(shape: ModelShape, training: TrainingSetup) -> Mapping[str, int]:
    """What attention keeps for the backward pass where it is given a mask [bytes].

    Every layer turns the mask, a byte for each pair of tokens, into numbers that are added to its scores.
    """
    if not training.is_masked:
        return {"repeated keys and values": 0, "masks": 0}
    layers = 1 if training.recompute else shape.num_layers
    tokens = training.rows * training.length
    repeated = 2 * layers * (shape.queries - shape.keys) * training.compute_bytes
    return {
        "repeated keys and values": tokens * repeated,
        "masks": tokens * training.length * (1 + layers * training.compute_bytes),
    }


def learner_memory(shape: ModelShape, training: TrainingSetup) -> Mapping[str, int]:
    """Components on one device while the policy is updated [bytes].

    AdamW keeps two moments; its step takes nothing else on a GPU, where it is one kernel.
    """
    gathered = shape.outside_blocks + 2 * shape.in_block  # FSDP2 fetches the next block ahead
    # FSDP2 reduces in float32 what a group has in the compute dtype, and the next group is computed meanwhile.
    reduced = shape.in_block + max(shape.in_block, shape.outside_blocks)
    is_half = training.compute_bytes < training.weight_bytes
    all_logits = training.rows * training.length * shape.vocabulary * FLOAT32
    # Summed in float32, and rounded to what the head was computed in.
    of_head = shape.vocabulary * shape.hidden * (FLOAT32 + is_half * training.compute_bytes)
    return {
        "weights": shape.parameters * training.weight_bytes // training.shards,
        "gradients": shape.trainable * training.weight_bytes // training.shards,
        "optimiser (two moments)": 2 * shape.trainable * training.weight_bytes // training.shards,
        "gathered weights": (
            gathered if training.shards > 1 else is_half * shape.parameters  # autocast keeps them
        )
        * training.compute_bytes,
        "gradient buckets": shape.trainable * training.weight_bytes if training.replicas > 1 else 0,
        "gradients being reduced": (
            min(shape.trainable, reduced) * (FLOAT32 + training.compute_bytes) if training.shards > 1 else 0
        ),
        "activations": training.rows * training.length * activation_bytes_per_token(shape, training),
        **masked_attention_bytes(shape, training),
        # A half chunk more where the head is computed in bfloat16, before its logits are widened.
        "logits in chunks": round((2 + is_half / 2) * min(GPU_CHUNK_BYTES, all_logits)) + of_head,
    }


def system_memory(*, several_devices: bool, cuda_graphs: bool, num_processes: int = 1) -> Mapping[str, int]:
    """What a device always has beside the tensors of learner and engine, which so many processes share [bytes]."""
    return {
        "CUDA context": num_processes * CUDA_CONTEXT_BYTES,
        "NCCL": NCCL_BYTES if several_devices else 0,
        "CUDA graphs": CUDA_GRAPH_BYTES if cuda_graphs else 0,
    }
