"""The built-in policy: an exact character tokenizer, and a model that a seed decides."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from policies.model.tiny import SPECIAL_TOKENS, TinyModel, character_tokenizer, tiny_model, vocabulary_size

ALPHABET = "ab \n+"


def test_tokens_are_the_characters_in_order_after_the_special_ones():
    tokenizer = character_tokenizer("b\na ", max_tokens=16)
    assert SPECIAL_TOKENS == ("<pad>", "<bos>", "<eos>", "<unk>")
    # sorted: newline 4, space 5, a 6, b 7
    assert tokenizer("ab \na")["input_ids"] == [6, 7, 5, 4, 6]
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 2)


@given(st.text(ALPHABET, max_size=30))
def test_decoding_is_exact(text):
    tokenizer = character_tokenizer(ALPHABET, max_tokens=64)
    ids = tokenizer(text)["input_ids"]
    assert len(ids) == len(text)
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_special_tokens_are_left_out_of_the_text():
    tokenizer = character_tokenizer(ALPHABET, max_tokens=16)
    ids = [
        tokenizer.bos_token_id,
        *tokenizer("a b")["input_ids"],
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    ]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a b"


def test_a_character_outside_the_alphabet_is_unknown_and_the_others_stand():
    tokenizer = character_tokenizer(ALPHABET, max_tokens=16)
    assert tokenizer("aéb")["input_ids"] == [*tokenizer("a")["input_ids"], 3, *tokenizer("b")["input_ids"]]


def test_vocabulary_is_counted_without_making_it():
    assert vocabulary_size("aab") == 4 + 2 == len(character_tokenizer("aab", max_tokens=8))


def test_weights_follow_the_seed_and_the_callers_chance_is_left_alone():
    tokenizer = character_tokenizer(ALPHABET, max_tokens=16)
    before = torch.get_rng_state()
    one, same, other = (tiny_model(TinyModel(num_layers=1), tokenizer, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    name = "model.layers.0.mlp.up_proj.weight"
    assert torch.equal(one.state_dict()[name], same.state_dict()[name])
    assert not torch.equal(one.state_dict()[name], other.state_dict()[name])


def test_default_size_is_a_tenth_of_a_million():
    model = tiny_model(TinyModel(), character_tokenizer("0123456789+=,;", 256), seed=0)
    # embeddings 18·64 (tied); a layer: attention 4·64·64, MLP 3·64·192, norms 2·64; last norm 64
    assert model.num_parameters() == 18 * 64 + 2 * (4 * 64 * 64 + 3 * 64 * 192 + 2 * 64) + 64
    assert model.dtype == torch.float32
    assert model.config.max_position_embeddings == 256


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"head_dim": 48}, "head_dim must be 32 or 64.*got 48"),
        ({"num_layers": 0}, "num_layers must be >= 1, got 0"),
        ({"max_tokens": -1}, "max_tokens must be >= 1, got -1"),
    ],
)
def test_bounds(setting, message):
    with pytest.raises(ValueError, match=message):
        TinyModel(**setting)
