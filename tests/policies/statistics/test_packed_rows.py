"""Rows without padding give the numbers of each row by itself, and siblings read their prompt once."""

from __future__ import annotations

import copy
import inspect
import itertools
import sys
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention.varlen import varlen_attn
from transformers import AutoModelForCausalLM, MistralConfig

from policies.model.recompute import recompute_activations
from policies.sharding import blocks, full, shard
from policies.statistics import packed_attention
from policies.statistics.packed_attention import is_packed, pack_rows, why_absent
from policies.statistics.packed_rows import packed_rows
from policies.statistics.response_statistics import View, observe, response_statistics, token_values
from tests.policies.statistics.small_models import CONFIGS, GROUPS, SMALL, model_of, rows_of

VIEW = View(temperature=0.8, entropy_gradient=True)


@pytest.fixture(params=CONFIGS, name="model")
def _model(request):
    return model_of(CONFIGS[request.param])


def values(model, sequences):
    """Log-probabilities, entropy, and the gradient of a number made of both."""
    model.zero_grad()
    seen = response_statistics(model, sequences, VIEW)
    (seen.logprobs.sum() - 0.5 * (seen.entropy**2).sum()).backward()
    found = [full(p.grad) if p.grad is not None else torch.zeros_like(p) for p in model.parameters()]
    return seen.logprobs.detach(), seen.entropy.detach(), torch.cat([grad.flatten() for grad in found])


def alone(model, sequences):
    """The same of each row by itself, the gradients added up."""
    rows = [values(model, sequences.select(torch.tensor([row]))) for row in range(len(sequences.prompt))]
    logprobs, entropy, gradients = zip(*rows, strict=True)
    return torch.cat(logprobs), torch.cat(entropy), sum(gradients)


def assert_same(found, expected, **tolerance):
    assert expected[2].abs().max() > 0.1
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **tolerance)


def test_packed_rows_have_the_values_and_the_gradient_of_each_row_alone(model):
    sequences = rows_of(GROUPS)
    expected = alone(model, sequences)
    pack_rows(model, "auto")
    assert is_packed(model)
    assert_same(values(model, sequences), expected, atol=1e-6, rtol=1e-5)


def test_the_layout_by_hand():
    """Prompt of 2 with responses of 3 and 1 tokens, then a prompt of 1 with a response of 2; no last token is read."""
    packed = packed_rows(rows_of([(2, [3, 1]), (1, [2])]))
    assert packed.rows.tolist() == [0, 0, 0, 0, 2, 2]
    assert packed.columns.tolist() == [0, 1, 2, 3, 0, 1]
    assert packed.segments.queries == (2, 2, 2)
    assert packed.segments.keys == (2, 4, 2)
    assert packed.segments.index.tolist() == [0, 1, 0, 1, 2, 3, 4, 5]
    assert packed.segments.key_starts.tolist() == [0, 2, 6, 8]
    assert packed.place[1, :2].tolist() == [0, 1]


def test_rows_that_share_nothing_attend_to_their_own_tokens_without_a_copy_of_keys():
    packed = packed_rows(rows_of([(2, [3]), (1, [2])]))
    assert packed.segments.index is None
    assert packed.segments.queries == packed.segments.keys == (4, 2)


def test_the_model_reads_no_padding_and_a_shared_prompt_once_in_one_pass():
    model, seen = model_of(CONFIGS["llama"], torch.float32), []
    pack_rows(model, "auto")
    model.get_decoder().register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    observe(model, rows_of([(5, [3, 1, 6]), (2, [0, 4])]), VIEW, micro_batch_size=5)
    assert seen == [(1, 5 + 2 + 0 + 5 + 2 + 0 + 3)]


@given(
    st.lists(st.tuples(st.integers(1, 5), st.lists(st.integers(0, 4), min_size=1, max_size=3)), min_size=1),
    st.integers(1, 6),
)
@settings(max_examples=15, deadline=None)
def test_any_groups_on_any_cut(groups, micro_batch_size):
    model, sequences = model_of(CONFIGS["llama"], torch.float32), rows_of(groups[:4])
    expected = observe(model, sequences, VIEW, micro_batch_size=1)
    pack_rows(model, "auto")
    seen = observe(model, sequences, VIEW, micro_batch_size=micro_batch_size)
    torch.testing.assert_close(seen.logprobs, expected.logprobs, atol=1e-5, rtol=0)


def test_a_batch_that_is_not_packed_has_the_attention_of_before(model):
    ids = torch.arange(4, 12).reshape(2, 4)
    mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    expected = model(input_ids=ids, attention_mask=mask).logits
    pack_rows(model, "auto")
    assert torch.equal(model(input_ids=ids, attention_mask=mask).logits, expected)


def test_recomputed_activations_give_the_same_gradient(model):
    sequences = rows_of(GROUPS)
    pack_rows(model, "auto")
    expected = values(model, sequences)
    recompute_activations(model)
    assert_same(values(model, sequences), expected, atol=1e-10, rtol=1e-9)


def test_a_sharded_policy_reads_packed_rows(mesh):
    model, sequences = model_of(CONFIGS["llama"], torch.float32), rows_of(GROUPS)
    expected = alone(model, sequences)
    sharded = copy.deepcopy(model)
    pack_rows(sharded, "auto")
    shard(sharded, mesh, half=False, run=token_values)
    assert_same(values(sharded, sequences), expected, atol=1e-4, rtol=1e-4)


def test_autocast_rounds_queries_and_keys_as_it_does_for_padded_rows():
    model, sequences = model_of(CONFIGS["llama"], torch.float32), rows_of(GROUPS)
    pack_rows(model, "auto")
    seen = []

    def spy(query, key, value, segments, scale):
        seen.append((query.dtype, key.dtype, value.dtype))
        return query

    with (
        pytest.MonkeyPatch.context() as patch,
        torch.autocast("cpu", torch.bfloat16),
    ):
        patch.setitem(packed_attention._KERNELS, "sdpa", spy)
        observe(model, sequences, VIEW, micro_batch_size=100)
    assert set(seen) == {(torch.bfloat16,) * 3}


def test_a_sliding_window_is_refused():
    model = model_of(MistralConfig(**SMALL, sliding_window=4))
    with pytest.raises(ValueError, match=r"tokens_per_micro_batch: cannot pack .* choose another model"):
        pack_rows(model, "auto")


def test_a_model_that_loses_the_segments_is_refused(model):
    block = blocks(model)[0]
    forward = block.forward
    block.forward = lambda *args, segments=None, **kwargs: forward(*args, **kwargs)
    with pytest.raises(ValueError, match=r"tokens_per_micro_batch: this model .* choose another model"):
        pack_rows(model, "auto")


def test_a_model_whose_weights_are_still_to_be_read_is_packed_or_refused():
    with torch.device("meta"):
        model, sliding = (
            AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
            for config in (CONFIGS["llama"], MistralConfig(**SMALL, sliding_window=4))
        )
    pack_rows(model, "auto")
    assert is_packed(model)
    with pytest.raises(ValueError, match=r"tokens_per_micro_batch: cannot pack"):
        pack_rows(sliding, "auto")
    block = blocks(model)[0]
    forward = block.forward
    block.forward = lambda *args, segments=None, **kwargs: forward(*args, **kwargs)
    model.set_attn_implementation("sdpa")
    with pytest.raises(ValueError, match=r"does not take packed rows"):
        pack_rows(model, "auto")


def test_a_kernel_that_is_not_installed_says_so(monkeypatch):
    monkeypatch.setattr(packed_attention, "find_spec", lambda _: None)
    assert "flash-attn is not installed" in why_absent("flash")
    assert "install torch 2.13" in why_absent("varlen")
    assert "triton, which is not installed" in why_absent("flex")
    assert why_absent("auto") is None
    assert why_absent("sdpa") is None


def by_the_definition(query, key, value, query_starts, key_starts, max_q, max_k, scale):
    """Attention of each segment by softmax; its last query sees all of its keys, the one before all but one."""
    outputs = []
    for (q0, q1), (k0, k1) in zip(
        itertools.pairwise(query_starts.tolist()), itertools.pairwise(key_starts.tolist()), strict=True
    ):
        assert q1 - q0 <= max_q
        assert k1 - k0 <= max_k
        q, k, v = query[q0:q1], key[k0:k1], value[k0:k1]
        k, v = (each.repeat_interleave(q.shape[1] // each.shape[1], dim=1) for each in (k, v))
        scores = torch.einsum("qhd,khd->hqk", q, k) * scale
        seen = torch.arange(len(k)) <= torch.arange(len(q))[:, None] + len(k) - len(q)
        outputs.append(torch.einsum("hqk,khd->qhd", scores.masked_fill(~seen, -torch.inf).softmax(-1), v))
    return torch.cat(outputs)


def stand_in_varlen(*args, **options):
    called = inspect.signature(varlen_attn).bind(*args, **options).arguments
    assert called["window_size"] == (-1, 0)  # causal
    assert called["enable_gqa"]
    return by_the_definition(*args, called["scale"])


def stand_in_flash(*args, softmax_scale, causal):
    assert causal
    return by_the_definition(*args, softmax_scale)


def stand_in_flex(query, key, value, *, block_mask, scale, enable_gqa):
    assert enable_gqa
    key, value = (each.repeat_interleave(query.shape[1] // each.shape[1], dim=1) for each in (key, value))
    q, k = torch.arange(query.shape[2])[:, None], torch.arange(key.shape[2])
    seen = block_mask.mask_mod(torch.tensor(0), torch.tensor(0), q, k)
    return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=scale)


@pytest.mark.parametrize("kernel", ["varlen", "flash", "flex"])
def test_the_kernels_of_a_gpu_are_given_what_gives_the_same_on_a_cpu(kernel, monkeypatch):
    """The same calls, answered by attention written out."""
    model, sequences = model_of(CONFIGS["llama"]), rows_of(GROUPS)
    pack_rows(model, "auto")
    expected = values(model, sequences)
    monkeypatch.setattr(packed_attention, "_choice", lambda *_: kernel)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", stand_in_varlen)
    monkeypatch.setitem(sys.modules, "flash_attn", SimpleNamespace(flash_attn_varlen_func=stand_in_flash))
    monkeypatch.setattr(packed_attention, "_flexible", lambda is_compiled: stand_in_flex)
    assert_same(values(model, sequences), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(
    "groups", [GROUPS, [(150, [3, 140]), (1, [2])]], ids=["a block", "blocks that are empty"]
)
def test_torchs_flexible_attention_gives_what_segment_by_segment_gives(groups, monkeypatch):
    """The values alone: it has no gradient on a CPU."""
    monkeypatch.setattr(torch.nn.attention.flex_attention, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    model, sequences = model_of(CONFIGS["llama"], torch.float32), rows_of(groups)
    pack_rows(model, "sdpa")
    expected = observe(model, sequences, VIEW)
    monkeypatch.setattr(packed_attention, "_choice", lambda *_: "flex")
    packed_attention._block_mask.cache_clear()
    seen = observe(model, sequences, VIEW)
    torch.testing.assert_close(seen.logprobs, expected.logprobs, atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.entropy, expected.entropy, atol=1e-5, rtol=0)
    made = packed_attention._block_mask.cache_info()
    assert (made.misses, made.hits) == (1, len(blocks(model)) - 1)


def query(size=128, dtype=torch.bfloat16, is_cuda=True):
    return SimpleNamespace(shape=(10, 4, size), dtype=dtype, is_cuda=is_cuda)


@pytest.mark.parametrize(
    ("asked", "given", "installed", "taken"),
    [
        ("auto", query(), ("varlen", "flash"), "varlen"),
        ("auto", query(), ("flash",), "flash"),
        ("auto", query(), (), "sdpa"),
        ("flash", query(), ("varlen", "flash"), "flash"),
        ("sdpa", query(), ("varlen", "flash"), "sdpa"),
        ("varlen", query(is_cuda=False), ("varlen",), "sdpa"),
        ("varlen", query(dtype=torch.float32), ("varlen",), "sdpa"),  # before training, outside autocast
        ("auto", query(size=320), ("varlen",), "sdpa"),
        ("auto", query(size=100), ("varlen",), "sdpa"),
        ("flex", query(size=100, dtype=torch.float32), ("varlen",), "flex"),
        ("flex", query(size=8), ("varlen",), "sdpa"),
        ("flex", query(is_cuda=False), ("varlen",), "sdpa"),
    ],
)
def test_the_kernel_is_the_best_that_computes_these_queries(monkeypatch, asked, given, installed, taken):
    monkeypatch.setattr(packed_attention, "_installed", lambda: installed)
    assert packed_attention._choice(asked, given) == taken


@pytest.mark.parametrize("kernel", ["varlen", "flash", "flex"])
def test_the_other_kernels_agree_on_a_gpu(kernel):
    if not torch.cuda.is_available() or why_absent(kernel):
        pytest.skip(f"needs a CUDA device and {kernel}")
    model, sequences = model_of(CONFIGS["llama"], torch.bfloat16).cuda(), rows_of(GROUPS)
    pack_rows(model, "sdpa")
    expected = values(model, sequences)
    model.set_attn_implementation(f"packed_{kernel}")
    assert_same(values(model, sequences), expected, atol=5e-2, rtol=5e-2)


def test_a_saved_policy_does_not_say_how_its_rows_were_read(tmp_path):
    model = model_of(CONFIGS["llama"], torch.float32)
    pack_rows(model, "auto")
    model.save_pretrained(tmp_path)
    assert "packed_" not in (tmp_path / "config.json").read_text()
    assert not is_packed(AutoModelForCausalLM.from_pretrained(tmp_path))
