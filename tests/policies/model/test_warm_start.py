"""The supervised start: it learns the responses that it is shown, mistakes and all."""

from __future__ import annotations

import math
from random import Random

import pytest
import torch

from policies.model.tiny import TinyModel, character_tokenizer, tiny_model
from policies.model.warm_start import WarmStart, warm_start
from tasks.kinds.arithmetic import Arithmetic

pytestmark = pytest.mark.trains

TASK = Arithmetic(num_digits=1)
TOKENIZER = character_tokenizer(TASK.alphabet(), max_tokens=64)
ARCHITECTURE = TinyModel(hidden_size=32, intermediate_size=64, num_layers=1, num_heads=1, max_tokens=64)


def fresh_model():
    torch.set_num_threads(1)
    return tiny_model(ARCHITECTURE, TOKENIZER, seed=0)


def trained(demonstrations, num_steps):
    model = fresh_model()
    return model, warm_start(model, TOKENIZER, demonstrations, WarmStart(num_steps=num_steps, batch_size=32))


def test_loss_is_that_of_the_response_tokens_and_their_end():
    pairs = [("1+2=", "3;3"), ("11+22=", "3")]  # ragged on both sides
    model = fresh_model().double()
    total = count = 0
    for prompt, response in pairs:
        prompt_ids, response_ids = TOKENIZER(prompt)["input_ids"], TOKENIZER(response)["input_ids"]
        ids = torch.tensor([[*prompt_ids, *response_ids, TOKENIZER.eos_token_id]])
        logprobs = model(input_ids=ids).logits[0].log_softmax(-1)
        for column in range(len(prompt_ids), ids.shape[1]):
            total -= logprobs[column - 1, ids[0, column]].item()
            count += 1
    assert count == 3 + 1 + 1 + 1
    _, loss = trained(lambda _: pairs, num_steps=1)  # the last loss is of before the last step
    assert loss == pytest.approx(total / count, abs=1e-5)


def test_a_reply_is_read_and_not_learned():
    """The loss of prompt, turn, reply, turn is that of the turns and their ends, each after all before it."""
    model = fresh_model().double()
    pieces = [TOKENIZER(text)["input_ids"] for text in ("1+2=", "3", "+1", "4")]
    end = TOKENIZER.eos_token_id
    ids = torch.tensor([[*pieces[0], *pieces[1], end, *pieces[2], *pieces[3], end]])
    logprobs = model(input_ids=ids).logits[0].log_softmax(-1)
    expected = -sum(logprobs[column - 1, ids[0, column]].item() for column in (4, 5, 8, 9)) / 4
    _, loss = trained(lambda _: [("1+2=", "3", "+1", "4")], num_steps=1)
    assert loss == pytest.approx(expected, abs=1e-5)


def test_loss_falls(demonstrations_with):
    _, first = trained(demonstrations_with(0.0), num_steps=1)
    _, last = trained(demonstrations_with(0.0), num_steps=80)
    assert first == pytest.approx(math.log(len(TOKENIZER)), rel=0.1)  # knows nothing
    assert last < 0.6 * first


def test_mistakes_in_demonstrations_leave_doubt(demonstrations_with):
    _, sure = trained(demonstrations_with(0.0), num_steps=40)
    _, doubtful = trained(demonstrations_with(0.9), num_steps=40)
    assert doubtful > sure + 0.2


def test_every_batch_is_asked_for_once_and_in_order():
    asked = []

    def demonstrations(batch):
        asked.append(batch)
        problem = TASK.problem("train", 0, batch)
        return [(problem.prompt, TASK.demonstrate(problem, Random(0), 0.0))]

    trained(demonstrations, num_steps=4)
    assert asked == [0, 1, 2, 3]


@pytest.mark.parametrize("num_steps", [1, 2, 3, 9, 10, 11, 20])
def test_any_number_of_steps(demonstrations_with, num_steps):
    _, loss = trained(demonstrations_with(0.2), num_steps)
    assert math.isfinite(loss)


def test_same_settings_same_weights(demonstrations_with):
    one, _ = trained(demonstrations_with(0.2), num_steps=5)
    same, _ = trained(demonstrations_with(0.2), num_steps=5)
    for name, values in one.state_dict().items():
        assert torch.equal(values, same.state_dict()[name]), name


def test_no_steps_change_nothing(demonstrations_with):
    model, loss = trained(demonstrations_with(0.2), num_steps=0)
    assert math.isnan(loss)
    untouched = fresh_model().state_dict()
    assert all(torch.equal(values, untouched[name]) for name, values in model.state_dict().items())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_steps": -1}, "num_steps must be >= 0, got -1"),
        ({"batch_size": 0}, "batch_size must be >= 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be between 0 and 1, got 0"),
        ({"error_rate": 1.5}, "error_rate must be between 0 and 1, got 1.5"),
    ],
)
def test_bounds(setting, message):
    with pytest.raises(ValueError, match=message):
        WarmStart(**setting)
