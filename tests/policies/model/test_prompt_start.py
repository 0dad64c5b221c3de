"""The token that texts begin with: as the tokenizer has it, once, and the same for every engine."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch
from tokenizers.processors import TemplateProcessing

from orchestrator.configuration.notices import notices
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError
from orchestrator.training.start import load_policy
from policies.model.chat import Chat
from policies.model.loading import LoadedPolicy, load_pretrained
from policies.model.tiny import TinyModel, character_tokenizer, tiny_model
from policies.rollouts.base import Sampling
from policies.rollouts.open_engine import open_engine
from policies.rollouts.settings import Transformers, VllmServer
from tests.policies.fake_vllm import FakeServer

pytestmark = pytest.mark.trains

BOS, EOS = 1, 2
LETTERS = "0123456789+=su:!<bo>"
TEMPLATE = "<bos>{% for m in messages %}u:{{ m['content'] }}{% endfor %}"


def policy_with(template):
    """A policy whose tokenizer puts special tokens around a text ``$A``; None puts nothing."""
    tokenizer = character_tokenizer(LETTERS, 32)
    if template:
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=template, special_tokens=[("<bos>", BOS), ("<eos>", EOS)]
        )
    model = tiny_model(TinyModel(hidden_size=32, num_layers=1, num_heads=1, max_tokens=32), tokenizer, seed=0)
    return LoadedPolicy(model.eval(), tokenizer)


@pytest.fixture
def policy():
    return policy_with("<bos> $A")


def text_of(policy, ids):
    return policy.tokenizer.decode(ids)


@pytest.mark.parametrize(
    ("template", "bos", "expected"),
    [
        ("<bos> $A", "tokenizer", "<bos>1+1="),
        ("<bos> $A", "always", "<bos>1+1="),
        ("<bos> $A", "never", "1+1="),
        (None, "tokenizer", "1+1="),
        (None, "always", "<bos>1+1="),
        (None, "never", "1+1="),
        ("<bos> $A <eos>", "tokenizer", "<bos>1+1="),  # a response does not come after an end
        ("$A <eos>", "tokenizer", "1+1="),
    ],
)
def test_a_prompt_begins_as_it_is_asked_to(template, bos, expected):
    policy = replace(policy_with(template), bos=bos)
    assert text_of(policy, policy.encode("1+1=")) == expected


def test_what_the_tokenizer_does_is_the_default(policy, tmp_path):
    assert policy.encode("1+1=").tolist() == policy.tokenizer("1+1=")["input_ids"]
    assert policy.encode("1", "s").tolist() == policy.tokenizer("s\n\n1")["input_ids"]
    policy.save(tmp_path / "model")
    assert load_pretrained(str(tmp_path / "model")).encode("1").tolist() == [
        BOS,
        *policy.encode("1").tolist()[1:],
    ]


def test_a_prompt_that_writes_it_itself_has_it_once(policy):
    ids = policy.encode("<bos>1")
    assert ids[0] == BOS
    assert text_of(policy, ids) == "<bos>1"


def test_a_chat_template_brings_its_own(policy):
    policy.tokenizer.chat_template = TEMPLATE
    chatty = replace(policy, chat=Chat())
    assert text_of(chatty, chatty.encode("1")) == "<bos>u:1"


def test_only_a_prompt_begins_a_text(policy):
    """Replies, and texts to stop at, stand in the middle of one."""
    assert text_of(policy, policy.encode_reply("!", torch.tensor([5]))) == "!"
    assert BOS not in policy.stopping_at(["!"]).stop_ids


def test_always_needs_a_token():
    policy = policy_with(None)
    policy.tokenizer.bos_token = None
    with pytest.raises(ValueError, match=r"policy\.bos: .* without a BOS token, got 'always'"):
        replace(policy, bos="always")


def test_engines_see_the_same_ids(policy, tmp_path):
    """The server is sent ids, and so is vLLM in this process; `generate` is given the same."""
    server, seen = FakeServer(), []
    sampling, prompts = Sampling(temperature=0.0, max_tokens=2, seed=0), [policy.encode("1+1=")]
    policy.model.get_decoder().register_forward_pre_hook(
        lambda _, __, given: seen.append(given["input_ids"].tolist()), with_kwargs=True
    )
    try:
        there = open_engine(VllmServer(urls=(server.url,)), policy, max_batch_size=4, scratch=tmp_path)
        there.generate(prompts, 1, sampling)
        open_engine(Transformers(), policy, max_batch_size=4, scratch=tmp_path).generate(prompts, 1, sampling)
    finally:
        server.stop()
    (body,) = server.asked
    assert body["token_ids"] == seen[0][0] == policy.tokenizer("1+1=")["input_ids"]
    assert body["token_ids"][0] == BOS


# The setting ------------------------------------------------------------------------------------------


@pytest.fixture
def folder(policy, tmp_path):
    policy.save(tmp_path / "model")
    return str(tmp_path / "model")


def campaign(write_campaign, folder, **changes):
    return read_campaign(write_campaign({"policy": {"source": folder} | changes}))


def test_the_setting_reaches_the_policy_and_is_logged(write_campaign, folder, caplog):
    said = []
    for bos in ("tokenizer", "never"):
        config = campaign(write_campaign, folder, bos=bos).arms[0].config
        with caplog.at_level(logging.INFO, logger="orchestrator.training.start"):
            said.append(int(load_policy(config).encode("1")[0]) == BOS)
    assert said == [True, False]
    assert "prompts begin with '<bos>'" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bos": "maybe"}, r"policy\.bos: .*'tokenizer', 'always' or 'never'"),
        ({"bos": "never", "chat": {}}, r"bos must be 'tokenizer' beside chat, whose template .*got 'never'"),
        ({"bos": "always", "source": "builtin:tiny"}, r"bos must not be 'always' for builtin:tiny"),
    ],
)
def test_settings_that_cannot_be_are_refused(write_campaign, folder, changes, message):
    with pytest.raises(ConfigError, match=message):
        campaign(write_campaign, folder, **changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "prompts begin with '<bos>', which the tokenizer puts first by itself; 'never' leaves it out"),
        ({"bos": "always"}, "prompts begin with '<bos>'"),
        ({"bos": "never"}, "prompts begin with no special token, and the tokenizer would put '<bos>' first"),
        (
            {"source": "org/model"},
            "prompts begin with what the tokenizer of 'org/model' puts first by itself",
        ),
    ],
)
def test_validate_says_how_prompts_begin(write_campaign, folder, changes, expected):
    arms = campaign(write_campaign, folder, **changes).arms
    said = [notice for notice in notices(arms) if "policy.bos" in notice]
    assert len(said) == 1  # not once an arm
    assert expected in said[0]
    assert all(arm.name in said[0] for arm in arms)


def test_nothing_is_said_where_nothing_is_put_first(write_campaign, tmp_path):
    policy_with(None).save(tmp_path / "model")
    for source in (str(tmp_path / "model"), "builtin:tiny"):
        assert not [n for n in notices(campaign(write_campaign, source).arms) if "policy.bos" in n]
