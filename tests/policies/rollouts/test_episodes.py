"""Episodes: whose tokens are whose, when they end, and that the learner sees them as the engine did."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from policies.rollouts.base import Completion, RolloutEngine, Sampling
from policies.rollouts.episodes import EpisodeLimits, play
from policies.rollouts.transformers_engine import TransformersEngine
from policies.statistics.response_statistics import View, observe
from policies.statistics.sequences import pack
from tests.policies.rollouts.unequal_turns import NUM_TURNS

pytestmark = pytest.mark.trains

PROMPTS = ["1+2=", "3", "4+5=", "7+"]
TEMPERATURE = 1.3


def sampling(**changes):
    return Sampling(**({"temperature": TEMPERATURE, "max_tokens": 5, "seed": 3} | changes))


def goes_on(which, turns):
    """Replies of uneven length for three turns, to any prompt but the second."""
    return None if which == 1 or len(turns) == 3 else "+1"[: 1 + which % 2] * len(turns)


@pytest.fixture
def prompts(policy):
    return [policy.encode(text) for text in PROMPTS]


@pytest.fixture
def engine(policy):
    return TransformersEngine(policy.model, pad_id=policy.pad_id, stop_ids=policy.stop_ids)


def play_with(engine, policy, prompts, *, reply=goes_on, limits=None, num_samples=4, **changes):
    return play(
        engine,
        policy,
        prompts,
        num_samples,
        sampling(**changes),
        reply=reply,
        limits=limits or EpisodeLimits(),
    )


def flat(groups):
    return [completion for group in groups for completion in group]


def as_lists(groups):
    return [(e.tokens.tolist(), e.turn.tolist(), e.finished) for e in flat(groups)]


class Scripted(RolloutEngine):
    """Says the given texts, turn after turn, and keeps what it was asked."""

    def __init__(self, policy, texts, finished=True):
        self.policy, self.texts, self.finished = policy, list(texts), finished
        self.asked = []

    def generate(self, prompts, num_samples, sampling):
        self.asked.append((["".join(self.policy.decode([p])) for p in prompts], num_samples, sampling))
        text = self.texts.pop(0)
        tokens = torch.cat([self.policy.encode(text), torch.tensor([self.policy.eos_id])])
        tokens = tokens if self.finished else tokens[:-1]
        said = Completion(tokens=tokens, logprobs=-torch.arange(len(tokens)).float(), finished=self.finished)
        return [[said] * num_samples for _ in prompts]


def test_turns_and_replies_stand_in_the_order_they_were_said(policy):
    engine = Scripted(policy, ["12", "3"])
    replies = iter(["+", None])
    [[episode]] = play_with(
        engine, policy, [policy.encode("4=")], num_samples=1, reply=lambda which, turns: next(replies)
    )
    one, two, three, plus = (int(policy.encode(c)) for c in "123+")
    eos = policy.eos_id
    assert episode.tokens.tolist() == [one, two, eos, plus, three, eos]
    assert episode.turn.tolist() == [1, 1, 1, 0, 2, 2]
    assert episode.logprobs.tolist() == [0.0, -1.0, -2.0, 0.0, -1.0]  # of the policy's own alone
    assert episode.last_turn.tolist() == [three, eos]
    assert episode.finished
    assert [(n, s.numbers) for _, n, s in engine.asked] == [(1, None), (1, (0,))]
    assert engine.asked[0][2].seed != engine.asked[1][2].seed


def test_the_task_hears_every_turn_without_its_end(policy):
    heard = []
    engine = Scripted(policy, ["12", "3"])
    play_with(
        engine,
        policy,
        [policy.encode("4="), policy.encode("5=")],
        num_samples=1,
        reply=lambda which, turns: heard.append((which, list(turns))) or ("+" if len(turns) < 2 else None),
    )
    assert heard == [(0, ["12"]), (1, ["12"]), (0, ["12", "3"]), (1, ["12", "3"])]


def test_greedy_and_sampled_episodes_side_by_side_are_those_of_two_passes(policy, engine, prompts):
    greedy = play_with(engine, policy, prompts, num_samples=1, temperature=0.0, first_prompt=3)
    sampled = play_with(engine, policy, prompts, num_samples=3, first_prompt=3)
    both = play_with(engine, policy, prompts, num_samples=4, greedy_first=True, first_prompt=3)
    assert as_lists(both) == as_lists([one + others for one, others in zip(greedy, sampled)])
    assert max(group[0].num_turns for group in both) > 1  # or later turns of greedy ones would not show


@pytest.mark.parametrize(
    ("limits", "num_turns"),
    [
        (EpisodeLimits(max_turns=1), 1),
        (EpisodeLimits(max_turns=3), 3),
        # a turn of 2 and a reply of 1 tokens, then room for 5 more: 8, 11, 14
        (EpisodeLimits(max_tokens=7), 1),
        (EpisodeLimits(max_tokens=8), 2),
        (EpisodeLimits(max_tokens=13), 3),
        (EpisodeLimits(max_tokens=14), 4),
        # the model has 64 positions: 2 of the prompt, 3 a round, the last turn needs 5
        (EpisodeLimits(max_turns=99), 20),
    ],
)
def test_an_episode_without_end_is_cut_and_is_not_finished(policy, limits, num_turns):
    engine = Scripted(policy, ["1"] * 99)
    [[episode]] = play_with(
        engine, policy, [policy.encode("4=")], num_samples=1, reply=lambda *_: "+", limits=limits
    )
    assert int(episode.turn.max()) == num_turns
    assert int(episode.turn[-1]) == num_turns  # it ends with the policy's word
    assert not episode.finished


def test_a_turn_that_was_cut_gets_no_reply(policy):
    def never(*_):
        raise AssertionError("nobody was to be asked")

    [[episode]] = play_with(
        Scripted(policy, ["1"], finished=False), policy, [policy.encode("4=")], num_samples=1, reply=never
    )
    assert not episode.finished


def test_the_learner_sees_every_turn_as_the_engine_did(policy, engine, prompts):
    """Log-probs of the whole rows at once equal those of the turns, each sampled with its own padding."""
    episodes = flat(play_with(engine, policy, prompts))
    assert {int(e.turn.max()) for e in episodes} >= {1, 3}
    rows = [prompt for prompt in prompts for _ in range(4)]
    sequences = pack(rows, [e.tokens for e in episodes], policy.pad_id, [e.turn > 0 for e in episodes])
    seen = observe(policy.model, sequences, View(temperature=TEMPERATURE), micro_batch_size=3)
    behaviour = torch.cat([e.logprobs for e in episodes])
    assert len(seen.logprobs) == len(behaviour)
    torch.testing.assert_close(seen.logprobs, behaviour, atol=2e-5, rtol=0)


def test_chance_does_not_depend_on_who_else_plays(policy, engine, prompts):
    whole = as_lists(play_with(engine, policy, prompts))
    first = as_lists(play_with(engine, policy, prompts[:2]))
    rest = as_lists(
        play_with(
            engine, policy, prompts[2:], first_prompt=2, reply=lambda which, turns: goes_on(which + 2, turns)
        )
    )
    assert first + rest == whole
    assert as_lists(play_with(engine, policy, prompts, seed=4)) != whole


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        (EpisodeLimits(max_turns=3), 15),  # three turns of five
        (EpisodeLimits(max_turns=3, max_tokens=40), 15),
        (EpisodeLimits(max_turns=3, max_tokens=12), 12),
    ],
)
def test_the_most_that_the_policy_can_say(limits, most):
    assert limits.most_spoken(5) == most


@pytest.mark.parametrize("setting", ["max_turns", "max_tokens"])
def test_limits_are_guarded(setting):
    with pytest.raises(ValueError, match=f"{setting} must be >= 1, got 0"):
        EpisodeLimits(**{setting: 0})


def test_ranks_whose_episodes_have_unequal_turns_do_not_wait_for_each_other(tmp_path):
    ranks = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.policies.rollouts.unequal_turns",
                str(rank),
                str(tmp_path / "store"),
            ],
            cwd=Path(__file__).parents[3],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [rank.communicate()[0].split() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    assert said == [["push", "wake", *["turn"] * number, "sleep"] * 2 for number in NUM_TURNS]
