"""Entropy-aware initialisation: what is decided, from entropies that are known, and of a real tiny policy."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from policies.initialisation import (
    GROWTH,
    LARGEST_FACTOR,
    Initialisation,
    LowEntropyError,
    Start,
    choose_start,
    rollout_entropy,
)
from policies.model.loading import LoadedPolicy
from policies.model.tiny import TinyModel, character_tokenizer, tiny_model
from policies.rollouts.base import Completion, Sampling
from policies.rollouts.transformers_engine import TransformersEngine
from policies.statistics.response_statistics import observe

pytestmark = pytest.mark.trains


class Measured:
    """Entropy = level of the seed · temperature, and a record of what was asked."""

    def __init__(self, *levels: float) -> None:
        self.levels = levels
        self.asked: list[tuple[int, float]] = []

    def __call__(self, seed: int, temperature: float) -> float:
        self.asked.append((seed, temperature))
        return self.levels[min(seed, len(self.levels) - 1)] * temperature


def choose(entropy: Measured, temperature: float = 1.0, **settings) -> Start:
    return choose_start(Initialisation(**settings), seed=0, temperature=temperature, entropy=entropy)


@pytest.mark.parametrize("action", ["accept", "redraw", "recalibrate"])
def test_enough_entropy_is_taken_as_it_is(action):
    entropy = Measured(0.5)
    start = choose(entropy, temperature=0.8, floor_nats=0.4, action=action)
    assert start == Start(seed=0, temperature=0.8, entropy_nats=0.5 * 0.8, num_attempts=1)
    assert entropy.asked == [(0, 0.8)]


def test_accept_takes_any_entropy():
    start = choose(Measured(0.1), floor_nats=0.4, action="accept", max_attempts=1)
    assert (start.seed, start.temperature, start.num_attempts) == (0, 1.0, 1)


def test_redraw_takes_the_first_seed_that_has_enough():
    entropy = Measured(0.1, 0.2, 0.5, 0.9)
    start = choose(entropy, floor_nats=0.4, action="redraw")
    assert start == Start(seed=2, temperature=1.0, entropy_nats=0.5, num_attempts=3)
    assert entropy.asked == [(0, 1.0), (1, 1.0), (2, 1.0)]


def test_redraw_ends_when_its_attempts_do():
    entropy = Measured(0.1, 0.2, 0.3, 0.9)
    with pytest.raises(
        LowEntropyError, match=r"none of 3 policies, of seeds 0 to 2, .* 0\.4 .*0\.100, 0\.200, 0\.300"
    ):
        choose(entropy, floor_nats=0.4, action="redraw", max_attempts=3)
    assert len(entropy.asked) == 3


def test_recalibrate_raises_the_temperature_as_little_as_it_can():
    # entropy 0.25·T, floor 0.4: T = 1.6.  Growth: 1.414, 2.  Bisection of logarithms between these: 1.68, 1.54, ...
    entropy = Measured(0.25)
    start = choose(entropy, floor_nats=0.4, action="recalibrate", max_attempts=12)
    asked = [temperature for _, temperature in entropy.asked]
    assert asked[:5] == pytest.approx([1.0, GROWTH, 2.0, 2 ** (3 / 4), 2 ** (5 / 8)])
    assert start.entropy_nats >= 0.4
    assert start.temperature == pytest.approx(1.6, rel=GROWTH ** (2**-9) - 1 + 1e-3)
    assert start.temperature == pytest.approx(start.entropy_nats / 0.25)
    assert start.num_attempts <= 12
    assert start.seed == 0


def test_recalibrate_never_ends_below_the_floor():
    for level in (0.12, 0.2, 0.3, 0.39):
        for attempts in range(6, 12):
            start = choose(Measured(level), floor_nats=0.4, action="recalibrate", max_attempts=attempts)
            assert start.entropy_nats >= 0.4


def test_recalibrate_is_bounded():
    entropy = Measured(0.01)
    with pytest.raises(
        LowEntropyError, match=r"no temperature up to 4, in 5 attempts, .* 0\.4 .*lower the floor"
    ):
        choose(entropy, floor_nats=0.4, action="recalibrate", max_attempts=20)
    assert max(temperature for _, temperature in entropy.asked) == LARGEST_FACTOR


def test_recalibrate_ends_when_its_attempts_do():
    entropy = Measured(0.15)  # 0.4 needs T = 2.67, and the second attempt is 1.41
    with pytest.raises(LowEntropyError, match="in 2 attempts"):
        choose(entropy, floor_nats=0.4, action="recalibrate", max_attempts=2)
    assert len(entropy.asked) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"floor_nats": -0.1}, "floor_nats must be > 0 .*got -0.1"),
        ({"floor_nats": math.inf}, "floor_nats must be > 0 and finite"),
        ({"action": "reject"}, "action must be .*got 'reject'"),
        ({"action": "redraw", "max_attempts": 1}, "max_attempts must be >= 2 under 'redraw' .*got 1"),
        ({"max_attempts": 0}, "max_attempts must be >= 1 .*got 0"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Initialisation(**settings)


# A real policy -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def policy() -> LoadedPolicy:
    """A fresh model with a sharper head, so that its entropy is well below ln V."""
    architecture = TinyModel(hidden_size=32, intermediate_size=64, num_layers=1, num_heads=1)
    tokenizer = character_tokenizer("0123456789+=", architecture.max_tokens)
    model = tiny_model(architecture, tokenizer, seed=0).eval()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(8)
    return LoadedPolicy(model, tokenizer)


def measured(policy: LoadedPolicy, temperature: float, micro_batch_size: int | None = None) -> float:
    engine = TransformersEngine(policy.model, pad_id=policy.pad_id, stop_ids=policy.stop_ids)
    prompts = [policy.encode("1+2="), policy.encode("34+5=")]
    groups = engine.generate(prompts, 8, Sampling(temperature=temperature, max_tokens=6, seed=7))
    return rollout_entropy(
        policy,
        [prompt for prompt in prompts for _ in range(8)],
        [completion for group in groups for completion in group],
        temperature=temperature,
        observe=partial(observe, policy.model, micro_batch_size=micro_batch_size),
    )


def test_entropy_of_rollouts_is_that_of_the_distribution_sampled_from(policy):
    """Dense and by hand: every response token's softmax at the temperature."""
    engine = TransformersEngine(policy.model, pad_id=policy.pad_id, stop_ids=policy.stop_ids)
    prompts = [policy.encode("1+2="), policy.encode("34+5=")]
    entropies = []
    for prompt, group in zip(
        prompts, engine.generate(prompts, 8, Sampling(temperature=1.5, max_tokens=6, seed=7))
    ):
        for completion in group:
            ids = torch.cat([prompt, completion.tokens])[None]
            with torch.no_grad():
                logits = policy.model(input_ids=ids).logits[0, len(prompt) - 1 : -1] / 1.5
            entropies.append(torch.distributions.Categorical(logits=logits).entropy())
    assert measured(policy, 1.5) == pytest.approx(torch.cat(entropies).mean().item(), rel=1e-5)
    assert measured(policy, 1.5, micro_batch_size=3) == pytest.approx(measured(policy, 1.5), rel=1e-6)


def test_replies_in_an_episode_are_not_the_policys_entropy(policy):
    """Among the tokens 1 2 | + = | 3, the middle two are the task's; the mean is over the other three."""
    prompt, tokens = policy.encode("7="), policy.encode("12+=3")
    episode = Completion(
        tokens=tokens, logprobs=torch.zeros(3), finished=True, turn=torch.tensor([1, 1, 0, 0, 2])
    )
    with torch.no_grad():
        logits = policy.model(input_ids=torch.cat([prompt, tokens])[None]).logits[0, len(prompt) - 1 : -1]
    entropy = torch.distributions.Categorical(logits=logits).entropy()
    expected = (entropy[0] + entropy[1] + entropy[4]).item() / 3
    found = rollout_entropy(
        policy, [prompt], [episode], temperature=1.0, observe=partial(observe, policy.model)
    )
    assert found == pytest.approx(expected, rel=1e-5)
    assert expected != pytest.approx(entropy.mean().item(), rel=1e-3)


def test_a_real_policy_is_recalibrated_to_its_floor(policy):
    cold = measured(policy, 1.0)
    floor = 1.15 * cold
    settings = Initialisation(floor_nats=floor, action="recalibrate", max_attempts=10)
    start = choose_start(settings, seed=0, temperature=1.0, entropy=lambda _, T: measured(policy, T))
    assert start.entropy_nats >= floor
    assert start.entropy_nats == measured(policy, start.temperature)
    assert 1.0 < start.temperature < 2.0
    again = choose_start(settings, seed=0, temperature=1.0, entropy=lambda _, T: measured(policy, T))
    assert again == start
