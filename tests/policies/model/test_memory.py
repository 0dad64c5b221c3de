"""Memory estimates, compared with what autograd really keeps, and activations that are made again."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen2Config

from policies.model.memory import (
    FLOAT32,
    GIB,
    TrainingSetup,
    activation_bytes_per_token,
    learner_memory,
    masked_attention_bytes,
    shape_of,
    system_memory,
)
from policies.model.recompute import recompute_activations

pytestmark = pytest.mark.trains

ROWS, LENGTH = 2, 96


def model(hidden=128, intermediate=384, layers=4, heads=4, kv=2) -> PreTrainedModel:
    torch.manual_seed(0)
    config = Qwen2Config(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv,
        vocab_size=50,
        tie_word_embeddings=False,
    )
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()


def kept_bytes_per_token(policy: PreTrainedModel, mask: torch.Tensor | None = None) -> float:
    """Storage that the backward pass of the decoder holds on to, but for parameters."""
    parameters = {p.data_ptr() for p in policy.parameters()}
    kept: dict[int, tuple[int, torch.Tensor]] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    ids = torch.zeros(ROWS, LENGTH, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = policy.get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    assert output.requires_grad
    return sum(size for size, _ in kept.values()) / (ROWS * LENGTH)


def test_parameters_are_counted_block_by_block():
    shape = shape_of(model())
    attention = (
        128 * 128 + 128 + 2 * (128 * 64 + 64) + 128 * 128
    )  # queries, keys and values with bias, output
    block = attention + 3 * 128 * 384 + 2 * 128
    assert shape.in_block == block
    assert shape.outside_blocks == 2 * 50 * 128 + 128
    assert (shape.queries, shape.keys, shape.vocabulary) == (128, 64, 50)


@pytest.mark.parametrize("sizes", [{}, {"kv": 4}, {"hidden": 256, "intermediate": 512, "heads": 8}])
def test_activations_are_what_autograd_keeps(sizes):
    policy = model(**sizes)
    expected = activation_bytes_per_token(shape_of(policy), TrainingSetup(rows=ROWS, length=LENGTH))
    assert kept_bytes_per_token(policy) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("sizes", [{}, {"layers": 6}, {"kv": 4}])
def test_a_mask_costs_what_autograd_keeps_of_it(sizes):
    """Rows of unequal length: keys and values are repeated, and each layer makes numbers of the mask."""
    policy = model(**sizes)
    ragged = torch.ones(ROWS, LENGTH, dtype=torch.long)
    ragged[0, LENGTH // 2 :] = 0
    expected = masked_attention_bytes(shape_of(policy), TrainingSetup(rows=ROWS, length=LENGTH))
    kept = (kept_bytes_per_token(policy, ragged) - kept_bytes_per_token(policy)) * ROWS * LENGTH
    as_bits = ROWS * LENGTH**2  # is there, and no gradient needs it
    assert kept == pytest.approx(sum(expected.values()) - as_bits, rel=0.02)
    assert (expected["repeated keys and values"] > 0) is (sizes.get("kv") is None)


def test_one_row_on_one_device_needs_no_mask():
    shape = shape_of(model())
    alone = masked_attention_bytes(shape, TrainingSetup(rows=1, length=LENGTH))
    spread = masked_attention_bytes(shape, TrainingSetup(rows=1, length=LENGTH, shards=2))
    assert sum(alone.values()) == 0
    assert spread["masks"] == LENGTH**2 * (1 + 4 * FLOAT32)


def test_the_system_takes_what_it_takes():
    assert sum(system_memory(several_devices=False, cuda_graphs=False).values()) == GIB
    everything = sum(system_memory(several_devices=True, cuda_graphs=True).values())
    assert 10 * GIB <= everything <= 15 * GIB


def test_packed_rows_take_no_mask_and_a_chunk_of_logits_no_more_than_their_tokens():
    shape = shape_of(model())
    packed = learner_memory(shape, TrainingSetup(rows=1, length=64, shards=2, packed=True, compute_bytes=2))
    assert packed["masks"] == packed["repeated keys and values"] == 0
    assert packed["logits in chunks"] == 64 * shape.vocabulary * 10 + shape.vocabulary * shape.hidden * 6


def test_recomputing_keeps_one_tensor_a_block_and_one_block_at_work():
    policy = model(layers=6)
    recompute_activations(policy)
    shape = shape_of(policy)
    at_rest = (6 * shape.hidden + 2 * shape.hidden) * FLOAT32
    assert kept_bytes_per_token(policy) == pytest.approx(at_rest, rel=0.1)
    estimated = activation_bytes_per_token(shape, TrainingSetup(rows=1, length=1, recompute=True))
    one_block = 4 * (6 * 128 + 2 * 128 + 2 * 64 + 4 * 384)
    assert estimated == at_rest + one_block


def test_recomputing_changes_no_gradient():
    plain, recomputed = model(), model()
    recompute_activations(recomputed)
    ids = torch.arange(ROWS * LENGTH).reshape(ROWS, LENGTH) % 50
    for policy in (plain, recomputed):
        policy(input_ids=ids, labels=ids).loss.backward()
    for one, other in zip(plain.parameters(), recomputed.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_what_is_shared_is_divided_and_what_is_gathered_is_not():
    shape = shape_of(model())
    alone = learner_memory(shape, TrainingSetup(rows=1, length=8))
    shared = learner_memory(shape, TrainingSetup(rows=1, length=8, shards=4))
    assert alone["weights"] == 4 * shape.parameters
    assert alone["optimiser (two moments)"] == 8 * shape.parameters
    assert shared["gradients"] == alone["gradients"] // 4
    assert alone["gathered weights"] == 0
    assert shared["gathered weights"] == 4 * (shape.outside_blocks + 2 * shape.in_block)
    assert shared["activations"] == alone["activations"]
    assert alone["gradients being reduced"] == 0
    largest = shape.in_block + max(shape.in_block, shape.outside_blocks)
    assert shared["gradients being reduced"] == 8 * largest  # in float32, and as computed
    copies = learner_memory(shape, TrainingSetup(rows=1, length=8, replicas=2, compute_bytes=2))
    assert copies["gathered weights"] == 2 * shape.parameters  # autocast's
    assert copies["gradient buckets"] == 4 * shape.parameters
