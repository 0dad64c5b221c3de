"""Policies from a folder, and made from nothing: cached by what goes into them, and never half made."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    Qwen3Config,
)

from policies.model import built_in as making
from policies.model.built_in import built_in
from policies.model.cache import cache_folder
from policies.model.loading import LoadedPolicy, load_pretrained
from policies.model.tiny import TinyModel, character_tokenizer, tiny_model
from policies.model.warm_start import WarmStart
from policies.statistics.response_statistics import check_head

pytestmark = pytest.mark.trains

ARCHITECTURE = TinyModel(hidden_size=32, intermediate_size=64, num_layers=1, num_heads=1, max_tokens=32)
START = WarmStart(num_steps=2, batch_size=4)
SMALL = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ENTROSTAT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def count_made(monkeypatch):
    """A list that grows by one whenever a policy is warm-started."""
    made, real = [], making.warm_start
    monkeypatch.setattr(making, "warm_start", lambda *given: (made.append(1), real(*given))[1])
    return made


def demonstrations(batch):
    return [("1+1=", "2"), (f"{batch}+0=", str(batch))]


def make(architecture=ARCHITECTURE, start=START, alphabet="0123456789+=", shown=demonstrations):
    return built_in(architecture, start, alphabet, shown)


def same_weights(one, other):
    weights, others = one.model.state_dict(), other.model.state_dict()
    return weights.keys() == others.keys() and all(torch.equal(weights[n], others[n]) for n in weights)


def test_same_recipe_is_made_once(count_made):
    assert same_weights(make(), make())
    assert count_made == [1]


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": replace(ARCHITECTURE, intermediate_size=32)},
        {"start": replace(START, learning_rate=1e-3)},
        {"start": replace(START, error_rate=0.5)},
        {"start": replace(START, seed=1)},
        {"alphabet": "0123456789+=;"},
        {"shown": lambda batch: [("1+1=", "3")]},
    ],
)
def test_changed_recipe_is_made_anew(count_made, change):
    make()
    make(**change)
    assert len(count_made) == 2


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "SHA256SUMS"])
def test_what_the_disk_has_changed_in_the_cache_is_made_again(count_made, caplog, name):
    first = make()
    (folder,) = [path for path in cache_folder().iterdir() if path.is_dir()]
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).unlink()  # the first policy may still be reading it
    (folder / name).write_bytes(bytes(content))
    assert same_weights(first, make())
    assert len(count_made) == 2
    assert "it is made again" in caplog.text


def test_a_stored_weight_that_has_changed_is_found_and_other_files_may_be_edited(tmp_path):
    folder = tmp_path / "model"
    make().save(folder)
    settings = folder / "tokenizer_config.json"
    settings.write_text(settings.read_text() + "\n")
    load_pretrained(str(folder))
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(weights))
    with pytest.raises(
        ValueError, match=r"cannot be loaded: model\.safetensors is not what was written.*remove"
    ):
        load_pretrained(str(folder))
    (folder / "SHA256SUMS").unlink()
    load_pretrained(str(folder))


def test_order_of_the_alphabet_is_no_change(count_made):
    make(alphabet="01+=")
    make(alphabet="=+10")
    assert len(count_made) == 1


def test_made_at_the_same_time_it_is_made_once(count_made, monkeypatch):
    # transformers cannot load in several threads at a time; runs are processes, and made here it is one.
    monkeypatch.setattr(making, "load_pretrained", lambda source: source)
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: make(), range(4)))
    assert count_made == [1]
    assert len(set(folders)) == 1


def test_what_a_killed_process_left_half_made_is_not_used(count_made):
    make()
    (folder,) = [path for path in cache_folder().iterdir() if path.is_dir()]
    folder.rename(folder.with_suffix(".unfinished"))  # as if killed before the rename
    (folder.with_suffix(".unfinished") / "model.safetensors").unlink()
    make()
    assert len(count_made) == 2
    assert not list(cache_folder().glob("*.unfinished"))


def test_making_and_loading_leave_the_callers_chance_alone():
    before, python_before = torch.get_rng_state(), random.getstate()
    make()
    make()
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == python_before


def test_made_policy_depends_on_its_seed_alone():
    torch.manual_seed(1)
    one = make()
    torch.manual_seed(2)
    (folder,) = [path for path in cache_folder().iterdir() if path.is_dir()]
    folder.rename(folder.with_name("elsewhere"))
    assert same_weights(one, make())


def test_save_and_load_round_trip(tmp_path):
    policy = make(alphabet="01+= \n")
    policy.save(tmp_path / "saved")
    again = load_pretrained(str(tmp_path / "saved"))
    assert same_weights(policy, again)
    assert (again.pad_id, again.eos_id, again.vocabulary_size) == (0, 2, 4 + 6)
    text = "0 1\n+= "
    assert again.decode([again.encode(text)]) == [text]
    assert again.encode("01").tolist() == policy.encode("01").tolist()


def test_encoding_adds_nothing_and_decoding_drops_special_tokens():
    policy = make()
    ids = policy.encode("1+1=")
    assert ids.dtype == torch.int64
    assert len(ids) == 4
    ended = torch.cat([ids, torch.tensor([policy.eos_id, policy.pad_id])])
    assert policy.decode([ended, ids[:0]]) == ["1+1=", ""]
    assert policy.decode([]) == []  # of a rank without a share of a small batch


def test_stop_tokens_end_responses_and_are_not_read():
    policy = make(alphabet="0123456789+=;\n")
    assert policy.stop_ids == (policy.eos_id,)
    policy.model.generation_config.eos_token_id = [policy.eos_id, 7]  # as of chat models, which have several
    stopping = policy.stopping_at(["\n", ";"])
    newline, semicolon = policy.encode("\n;").tolist()
    assert stopping.stop_ids == (policy.eos_id, 7, newline, semicolon)
    assert policy.stop_ids == (policy.eos_id, 7)
    response = policy.encode("12\n")
    assert stopping.decode([response, response[:2], response[2:], response[:0]]) == ["12", "12", "", ""]
    assert policy.decode([response]) == ["12\n"]


@pytest.mark.parametrize("text", ["12", "?", ""])
def test_stop_that_is_not_one_token_is_refused(text):
    with pytest.raises(
        ValueError, match=rf"rollout.stop: '\{text}' must be one token" if text == "?" else "one token"
    ):
        make().stopping_at([text])


def test_empty_prompt_is_refused():
    with pytest.raises(ValueError, match="at least one token, got ''"):
        make().encode("")


def test_policy_is_in_evaluation_mode():
    assert not make().model.training  # dropout would make learner and sampler two policies


def test_missing_folder():
    with pytest.raises(ValueError, match=r"no model folder at /.*where"):
        load_pretrained("./nowhere")


def test_tokenizer_of_another_model_is_refused(tmp_path):
    make().save(tmp_path / "model")
    make(alphabet="0123456789+=?").tokenizer.save_pretrained(tmp_path / "model")
    with pytest.raises(
        ValueError, match=r"do not belong together: the tokenizer has 17 tokens, the model embeds 16"
    ):
        load_pretrained(str(tmp_path / "model"))


@pytest.mark.parametrize("broken", ["model.safetensors", "config.json", "tokenizer.json"])
def test_broken_file(tmp_path, broken):
    make().save(tmp_path / "model")
    file = tmp_path / "model" / broken
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"model '.*model' cannot be loaded: "):
        load_pretrained(str(tmp_path / "model"))


def test_padding_falls_back_to_the_end_token(tmp_path):
    make().save(tmp_path / "model")
    settings = tmp_path / "model" / "tokenizer_config.json"
    content = json.loads(settings.read_text())
    settings.write_text(json.dumps({k: v for k, v in content.items() if k != "pad_token"}))
    policy = load_pretrained(str(tmp_path / "model"))
    assert policy.pad_id == policy.eos_id == 2


def test_tokenizer_without_an_end_is_refused(tmp_path):
    make().save(tmp_path / "model")
    settings = tmp_path / "model" / "tokenizer_config.json"
    content = json.loads(settings.read_text())
    settings.write_text(json.dumps({k: v for k, v in content.items() if k != "eos_token"}))
    with pytest.raises(ValueError, match="no end-of-sequence token"):
        load_pretrained(str(tmp_path / "model"))


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**SMALL),
        Qwen3Config(**SMALL),
        GPT2Config(vocab_size=50, n_embd=32, n_layer=1, n_head=1, bos_token_id=1, eos_token_id=2),
        GraniteConfig(**SMALL, logits_scaling=1.0),
    ],
    ids=lambda config: config.model_type,
)
def test_plain_heads_are_accepted(config):
    check_head(AutoModelForCausalLM.from_config(config).eval())


@pytest.mark.parametrize(
    "config",
    [Gemma2Config(**SMALL), CohereConfig(**SMALL), GraniteConfig(**SMALL, logits_scaling=8.0)],
    ids=lambda config: config.model_type,
)
def test_heads_with_scaled_or_capped_logits_are_refused(config, tmp_path):
    model = AutoModelForCausalLM.from_config(config)
    tokenizer = character_tokenizer("0123456789+=", max_tokens=32)
    LoadedPolicy(model, tokenizer).save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"cannot be loaded: its logits are not its output head"):
        load_pretrained(str(tmp_path / "model"))


def test_head_with_a_bias_is_accepted():
    model = tiny_model(ARCHITECTURE, character_tokenizer("01", 32), seed=0)
    head = torch.nn.Linear(32, 6)
    head.weight = model.get_input_embeddings().weight
    model.set_output_embeddings(head)
    check_head(model)
