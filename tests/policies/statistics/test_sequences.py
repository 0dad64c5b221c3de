"""Token statistics of ragged rows, against the model's own logits in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.statistics.response_statistics import View, observe, response_statistics
from policies.statistics.sequences import pack, token_index

pytestmark = pytest.mark.trains

TEMPERATURE = 0.7
ROWS = [  # (prompt, response) lengths: ragged, a single token, an empty response
    (4, 3),
    (2, 1),
    (5, 0),
    (1, 6),
    (4, 3),
]


def tokens(length, seed, vocabulary=14):
    return torch.randint(4, vocabulary, (length,), generator=torch.Generator().manual_seed(seed))


def rows_of(lengths):
    prompts = [tokens(p, 2 * i) for i, (p, _) in enumerate(lengths)]
    responses = [tokens(r, 2 * i + 1) for i, (_, r) in enumerate(lengths)]
    return prompts, responses


@pytest.fixture
def sequences():
    return pack(*rows_of(ROWS), pad_id=0)


@pytest.fixture
def model(policy):
    return policy.model


def dense(model, prompts, responses, temperature, scale=None):
    """Log-prob and entropy of each response token, row by row without padding, in float64."""
    exact = copy.deepcopy(model).double()
    logprobs, entropy, k = [], [], 0
    for prompt, response in zip(prompts, responses):
        logits = exact(input_ids=torch.cat([prompt, response])[None]).logits[0] / temperature
        for place, token in enumerate(response):
            factor = 1.0 if scale is None else scale[k].double()
            log_pi = (logits[len(prompt) + place - 1] * factor).log_softmax(-1)
            logprobs.append(log_pi[token])
            entropy.append(-(log_pi.exp() * log_pi).sum())
            k += 1
    return torch.stack(logprobs), torch.stack(entropy)


def test_rows_are_prompt_response_padding():
    packed = pack(
        [torch.tensor([5, 6]), torch.tensor([7])], [torch.tensor([8]), torch.tensor([9, 10, 11])], 0
    )
    assert packed.input_ids.tolist() == [[5, 6, 8, 0], [7, 9, 10, 11]]
    assert packed.attention_mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert packed.spoken.tolist() == [[False, False, True, False], [False, True, True, True]]
    assert packed.lengths.tolist() == [3, 4]
    assert packed.num_spoken.tolist() == [1, 3]


def test_a_token_that_looks_like_padding_is_no_padding():
    packed = pack([torch.tensor([5])], [torch.tensor([6, 2])], pad_id=2)  # pad == eos
    assert packed.attention_mask.tolist() == [[1, 1, 1]]


def test_tokens_go_row_by_row(sequences):
    row, position = token_index(sequences)
    assert row.tolist() == [0, 0, 0, 1, 3, 3, 3, 3, 3, 3, 4, 4, 4]
    assert position.tolist() == [0, 1, 2, 0, 0, 1, 2, 3, 4, 5, 0, 1, 2]


def test_selection_keeps_the_order_asked_for_and_is_cut_to_its_longest(sequences):
    picked = sequences.select(torch.tensor([4, 1]))
    assert picked.lengths.tolist() == [7, 3]
    assert picked.num_spoken.tolist() == [3, 1]
    assert picked.input_ids.shape == (2, 7)
    assert torch.equal(picked.input_ids[0], sequences.input_ids[4, :7])
    assert torch.equal(picked.input_ids[1, :3], sequences.input_ids[1, :3])


def test_tokens_of_rows_in_any_order(sequences):
    # flat order: row 0 has 0..2, row 1 has 3, row 2 none, row 3 has 4..9, row 4 has 10..12
    assert sequences.tokens_of(torch.tensor([4, 2, 1])).tolist() == [10, 11, 12, 3]
    assert sequences.tokens_of(torch.tensor([2])).tolist() == []


@pytest.fixture
def spoken():
    """In each response every third token is not the policy's, the first of the last row among them."""
    marks = [torch.arange(r) % 3 != 2 for _, r in ROWS]
    marks[-1][0] = False
    return marks


def test_only_what_was_spoken_counts(model, spoken):
    sequences = pack(*rows_of(ROWS), pad_id=0, spoken=spoken)
    assert sequences.num_spoken.tolist() == [2, 1, 0, 4, 1]
    row, position = token_index(sequences)
    assert row.tolist() == [0, 0, 1, 3, 3, 3, 3, 4]
    assert position.tolist() == [0, 1, 0, 0, 1, 2, 3, 0]
    assert sequences.places()[1].tolist() == [4, 5, 2, 1, 2, 4, 5, 5]
    assert sequences.tokens_of(torch.tensor([4, 1])).tolist() == [7, 2]
    logprobs, entropy = dense(model, *rows_of(ROWS), TEMPERATURE)
    own = torch.cat(spoken)
    seen = observe(model, sequences, View(temperature=TEMPERATURE), micro_batch_size=2)
    torch.testing.assert_close(seen.logprobs.double(), logprobs[own], atol=2e-5, rtol=0)
    torch.testing.assert_close(seen.entropy.double(), entropy[own], atol=2e-5, rtol=0)


def test_statistics_equal_the_models_own_logits(model, sequences):
    logprobs, entropy = dense(model, *rows_of(ROWS), TEMPERATURE)
    seen = response_statistics(model, sequences, View(temperature=TEMPERATURE))
    torch.testing.assert_close(seen.logprobs.double(), logprobs, atol=2e-5, rtol=0)
    torch.testing.assert_close(seen.entropy.double(), entropy, atol=2e-5, rtol=0)
    assert seen.filtered_logprobs is None


def test_scale_multiplies_the_logits_of_each_token(model, sequences):
    scale = torch.linspace(0.5, 2.0, 13)
    logprobs, entropy = dense(model, *rows_of(ROWS), TEMPERATURE, scale)
    seen = response_statistics(model, sequences, View(temperature=TEMPERATURE), scale)
    torch.testing.assert_close(seen.logprobs.double(), logprobs, atol=2e-5, rtol=0)
    torch.testing.assert_close(seen.entropy.double(), entropy, atol=2e-5, rtol=0)


def test_bias_of_the_head_counts(model, sequences):
    head = torch.nn.Linear(32, model.get_output_embeddings().weight.shape[0])
    torch.nn.init.normal_(head.bias, generator=torch.Generator().manual_seed(0))
    head.weight = model.get_input_embeddings().weight
    model.set_output_embeddings(head)
    logprobs, _ = dense(model, *rows_of(ROWS), TEMPERATURE)
    seen = response_statistics(model, sequences, View(temperature=TEMPERATURE))
    torch.testing.assert_close(seen.logprobs.double(), logprobs, atol=2e-5, rtol=0)


@pytest.mark.parametrize("micro_batch_size", [1, 2, 3, 5, 100])
def test_cuts_into_micro_batches_change_nothing(model, sequences, micro_batch_size):
    scale = torch.linspace(0.5, 2.0, 13)
    whole = response_statistics(model, sequences, View(temperature=TEMPERATURE), scale)
    cut = observe(
        model, sequences, View(temperature=TEMPERATURE), micro_batch_size=micro_batch_size, scale=scale
    )
    torch.testing.assert_close(cut.logprobs, whole.logprobs, atol=1e-5, rtol=0)
    torch.testing.assert_close(cut.entropy, whole.entropy, atol=1e-5, rtol=0)
    assert not cut.logprobs.requires_grad


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4)), min_size=1, max_size=4), st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_any_ragged_rows_on_any_cut(make_policy, lengths, micro_batch_size):
    model = make_policy().model
    prompts, responses = rows_of(lengths)
    seen = observe(
        model, pack(prompts, responses, 0), View(temperature=1.3), micro_batch_size=micro_batch_size
    )
    assert len(seen.logprobs) == sum(map(len, responses))
    if len(seen.logprobs):
        logprobs, entropy = dense(model, prompts, responses, 1.3)
        torch.testing.assert_close(seen.logprobs.double(), logprobs, atol=2e-5, rtol=0)
        torch.testing.assert_close(seen.entropy.double(), entropy, atol=2e-5, rtol=0)


def test_only_empty_responses(model):
    sequences = pack([tokens(3, 0), tokens(2, 1)], [tokens(0, 2), tokens(0, 3)], pad_id=0)
    seen = response_statistics(model, sequences, View(temperature=1.0, entropy_gradient=True))
    assert seen.logprobs.shape == seen.entropy.shape == (0,)
    (seen.logprobs.sum() + seen.entropy.sum()).backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_padding_takes_no_gradient_and_gives_none(model, sequences):
    def gradient(packed):
        model.zero_grad()
        seen = response_statistics(model, packed, View(temperature=1.0, entropy_gradient=True))
        (seen.logprobs.sum() - 0.5 * seen.entropy.sum()).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    alone = sum(gradient(sequences.select(torch.tensor([row]))) for row in range(len(ROWS)))
    torch.testing.assert_close(gradient(sequences), alone, atol=1e-4, rtol=1e-4)


def test_entropy_has_a_gradient_only_where_asked(model, sequences):
    assert response_statistics(
        model, sequences, View(temperature=1.0, entropy_gradient=True)
    ).entropy.requires_grad
    assert not response_statistics(model, sequences, View(temperature=1.0)).entropy.requires_grad


def test_statistics_are_float32_whatever_the_default_dtype(model, sequences):
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.bfloat16)  # what Lightning's bf16-true does around a step
        seen = observe(model, sequences, View(temperature=1.0), micro_batch_size=2)
    finally:
        torch.set_default_dtype(before)
    assert seen.entropy.dtype == seen.logprobs.dtype == torch.float32
    exact = observe(model, sequences, View(temperature=1.0), micro_batch_size=2)
    torch.testing.assert_close(seen.entropy, exact.entropy, atol=1e-6, rtol=0)
