"""Floating-point operations of training, and the share of a device's peak that they come to (MFU)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from policies.model.memory import ModelShape

if TYPE_CHECKING:  # see loading.py
    from transformers import PreTrainedModel

BF16_PEAKS: Mapping[str, float] = {
    "B200": 2250e12,
    "GH200": 989e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "RTX 4090": 165e12,
    "MI300X": 1307e12,
}
"""Peak of dense products in bfloat16 [FLOP/s], of the makers' data sheets, by a part of the device's name.

A name that holds several counts as the first."""


def peak_flops(device_name: str) -> float | None:
    """Peak of a device in bfloat16 [FLOP/s]; None where it is not known, and so no share of it."""
    return next((peak for name, peak in BF16_PEAKS.items() if name in device_name), None)


def has_experts(model: PreTrainedModel) -> bool:
    """Whether a token runs through some of the parameters of a block alone, which `training_flops` does not know."""
    config = model.config.get_text_config()
    return any(
        getattr(config, name, None) for name in ("num_experts", "num_local_experts", "n_routed_experts")
    )


def training_flops(shape: ModelShape, lengths: Tensor, num_predicted: int) -> float:
    """Operations of one forward and backward pass [FLOP].

    A product of a token with a matrix of M entries takes 2 M operations forward, 2 M for the gradient that is
    passed on, and 2 M for the gradient of the matrix where that is trained.  Attention to one earlier token (or
    itself) takes 4 Q in a layer, with Q the width of all queries together, and twice that backward.  So the
    usual 6 N of a model that is trained whole (Kaplan et al., 2001.08361; Chowdhery et al., 2204.02311,
    appendix B), but for attention, which counts half the square, and the head, which is read at the predicted
    tokens alone.  Activations that are made again count once, and a prompt counts in each of its responses.

    Args:
        shape: of the model.
        lengths: [N] tokens of each row, prompt and response together.
        num_predicted: tokens whose log-probability is computed.
    """
    tokens = float(lengths.sum())
    pairs = float((lengths.double() * (lengths.double() + 1) / 2).sum())
    behind = shape.num_trained_layers
    blocks = 2.0 * tokens * shape.in_block
    head = 2.0 * num_predicted * shape.vocabulary * shape.hidden
    attention = 4.0 * shape.queries * pairs
    forward = shape.num_layers * (blocks + attention) + head
    passed_on = behind * (blocks + 2.0 * attention) + head
    is_whole = shape.trainable == shape.parameters
    of_weights = 2.0 * tokens * min(shape.trainable, shape.num_layers * shape.in_block)
    return forward + passed_on + of_weights + (head if is_whole else 0.0)
