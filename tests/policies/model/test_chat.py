"""Prompts through a chat template: the very tokens, turn after turn."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from policies.model.chat import Chat
from policies.model.loading import LoadedPolicy
from policies.model.tiny import TinyModel, character_tokenizer, tiny_model

pytestmark = pytest.mark.trains

TEMPLATE = (
    "{% for m in messages %}{{ m['role'][0] }}:{{ m['content'] }}<eos>{% endfor %}"
    "{% if add_generation_prompt %}a:{{ hint | default('') }}{% endif %}"
)
REFUSING = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}x"


@pytest.fixture
def policy():
    tokenizer = character_tokenizer("sua:?!0123456789+=⟨⟩id", 64)
    model = tiny_model(TinyModel(hidden_size=32, num_layers=1, num_heads=1, max_tokens=64), tokenizer, 0)
    tokenizer.chat_template = TEMPLATE
    return LoadedPolicy(model, tokenizer, chat=Chat())


def text(policy, ids):
    return policy.tokenizer.decode(ids)


def test_a_prompt_is_a_users_turn(policy):
    ids = policy.encode("1+1=?")
    assert ids.dtype == torch.int64
    assert text(policy, ids) == "u:1+1=?<eos>a:"
    assert ids[7] == policy.eos_id  # one token, not its letters


def test_system_turn_and_arguments_of_the_template(policy):
    chatty = replace(policy, chat=Chat(system="d!", arguments={"hint": "id"}))
    assert text(chatty, chatty.encode("1")) == "s:d!<eos>u:1<eos>a:id"


def test_a_system_message_of_the_data_set_is_the_systems_turn(policy):
    assert text(policy, policy.encode("1", "d!")) == "s:d!<eos>u:1<eos>a:"
    chatty = replace(policy, chat=Chat(system="d?"))
    assert text(chatty, chatty.encode("1", "d!")) == "s:d!<eos>u:1<eos>a:"  # in place of the setting's
    assert text(chatty, chatty.encode("1")) == "s:d?<eos>u:1<eos>a:"


def test_without_chat_a_prompt_is_as_it_stands(policy):
    plain = replace(policy, chat=None)
    assert text(plain, plain.encode("1+1=?")) == "1+1=?"
    assert text(plain, plain.encode_reply("!", plain.encode("2"))) == "!"


def test_a_conversation_goes_on_as_the_template_would_have_it(policy):
    """Prompt, response, reply, laid end to end, are the conversation that the template writes."""
    ended = torch.cat([replace(policy, chat=None).encode("2"), torch.tensor([policy.eos_id])])
    for response in (ended, ended[:-1]):  # one that the policy ended itself, one that was cut
        whole = torch.cat([policy.encode("1+1=?"), response, policy.encode_reply("!", response)])
        assert text(policy, whole) == "u:1+1=?<eos>a:2<eos>u:!<eos>a:"


def test_no_template(policy):
    policy.tokenizer.chat_template = None
    with pytest.raises(
        ValueError, match=r"policy\.chat: the tokenizer has no chat template; remove policy\.chat"
    ):
        policy.encode("1")


def test_template_that_refuses(policy):
    policy.tokenizer.chat_template = REFUSING
    policy.encode("1")
    with pytest.raises(ValueError, match=r"policy\.chat: .* refuses the conversation: no system turn"):
        replace(policy, chat=Chat(system="d")).encode("1")
