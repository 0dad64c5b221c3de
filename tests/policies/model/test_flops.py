"""Operations of training, compared with those that torch counts."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from policies.model.flops import has_experts, peak_flops, training_flops
from policies.model.memory import shape_of
from policies.model.trainable import Lora, add_adapters, train_last_layers
from tests.policies.model.test_memory import model

ROWS, LENGTH = 2, 32


def counted(policy):
    """What one forward and backward pass multiplies, by torch."""
    ids = torch.arange(ROWS * LENGTH).reshape(ROWS, LENGTH) % 50
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        policy(input_ids=ids, use_cache=False).logits.sum().backward()
    return counter.get_total_flops()


def expected(policy):
    """The formula, and the other half of the square, which the kernel above does not skip."""
    shape = shape_of(policy)
    lengths = torch.full((ROWS,), LENGTH)
    skipped = 4 * shape.queries * ROWS * (LENGTH**2 - LENGTH * (LENGTH + 1) / 2)
    passes = shape.num_layers + 2 * shape.num_trained_layers
    return training_flops(shape, lengths, ROWS * LENGTH) + passes * skipped


@pytest.mark.parametrize("sizes", [{}, {"kv": 4, "layers": 2}])
def test_a_model_trained_whole(sizes):
    policy = model(**sizes)
    assert shape_of(policy).num_trained_layers == shape_of(policy).num_layers
    assert counted(policy) == pytest.approx(expected(policy), rel=0.02)


def test_the_last_layers_alone():
    policy = model()
    whole = training_flops(shape_of(policy), torch.tensor([LENGTH]), LENGTH)
    train_last_layers(policy, 1)
    assert shape_of(policy).num_trained_layers == 1
    assert training_flops(shape_of(policy), torch.tensor([LENGTH]), LENGTH) < 0.6 * whole
    assert counted(policy) == pytest.approx(expected(policy), rel=0.03)


def test_adapters_pass_gradients_on_and_have_few_of_their_own():
    policy = model()
    add_adapters(policy, Lora(rank=2, alpha=4.0))
    assert shape_of(policy).num_trained_layers == 4
    assert counted(policy) == pytest.approx(expected(policy), rel=0.06)


def test_short_rows_count_their_own_attention():
    shape = shape_of(model())
    together = training_flops(shape, torch.tensor([10, 20]), 6)
    apart = training_flops(shape, torch.tensor([10]), 2) + training_flops(shape, torch.tensor([20]), 4)
    assert together == pytest.approx(apart)


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA GH200 480GB", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("Quadro P400", None),
    ],
)
def test_a_peak_is_known_or_none(name, peak):
    assert peak_flops(name) == peak


def test_experts_are_seen():
    policy = model()
    assert not has_experts(policy)
    policy.config.num_experts = 4
    assert has_experts(policy)
