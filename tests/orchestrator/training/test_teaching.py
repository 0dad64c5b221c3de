"""What of the rollouts an update learns from: by hand, and through whole runs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from orchestrator.campaign import prepare
from orchestrator.configuration.learner import LearnerConfig
from orchestrator.configuration.resolve import read_campaign
from orchestrator.training import run as worker
from orchestrator.training.teaching import Teaching

LONGEST = 8


def rollouts(scores, finished, lengths, group):
    """As much of rollouts as is looked at."""
    return SimpleNamespace(
        rewards=torch.tensor(scores),
        completions=[SimpleNamespace(finished=each) for each in finished],
        lengths=torch.tensor(lengths, dtype=torch.float64),
        group=torch.tensor(group),
    )


MIXED = rollouts([1.0, 0.0, 1.0, 1.0], [True, False, True, False], [4, 8, 2, 8], [0, 0, 1, 1])
"""A group of which one response is right and one cut, and one of two right responses of which one is cut."""


@pytest.mark.parametrize(
    ("settings", "rewards", "kept"),
    [
        ({}, [1, 0, 1, 1], [1, 1, 1, 1]),
        ({"truncated": "mask"}, [1, 0, 1, 1], [1, 0, 1, 0]),
        ({"uniform_groups": "drop"}, [1, 0, 1, 1], [1, 1, 0, 0]),
        ({"truncated": "zero", "uniform_groups": "drop"}, [1, 0, 1, 0], [1, 1, 1, 1]),  # it differs now
        ({"overlong": {"buffer_tokens": 2}, "uniform_groups": "drop"}, [1, -1, 1, 0], [1, 1, 1, 1]),
        ({"truncated": "mask", "uniform_groups": "drop"}, [1, 0, 1, 1], [1, 0, 0, 0]),
    ],
)
def test_rewards_and_what_is_kept(settings, rewards, kept):
    teaching = Teaching.of(MIXED, LearnerConfig(iterations=1, **settings), LONGEST)
    assert teaching.rewards.tolist() == rewards
    assert teaching.kept.tolist() == [bool(each) for each in kept]
    filters = settings.get("truncated") == "mask" or "uniform_groups" in settings
    assert teaching.metrics.get("teaching/kept") == (sum(kept) / 4 if filters else None)
    shaped = settings.get("truncated") == "zero" or "overlong" in settings
    assert teaching.metrics.get("teaching/reward") == (sum(rewards) / 4 if shaped else None)


@pytest.fixture
def train(write_campaign):
    """Train the plain arm for two iterations with these settings; its records and final weights."""
    torch.set_num_threads(1)

    def train(name, **changes):
        changes = {
            "learner.iterations": 2,
            "learner.prompts_per_iteration": 8,
            "evaluation": {"every": 2, "num_problems": 2, "num_samples": 1, "pass_at": []},
            "tracking.folder": name,
            **changes,
        }
        folder = prepare(read_campaign(write_campaign(changes))).run("grpo", 0)
        assert worker.main(str(folder.path)) == worker.EXIT_DONE, folder.read_status().reason
        records = [record.metrics for record in folder.records() if record.kind == "train"]
        return records, load_file(folder.policy_path / "model.safetensors")

    return train


def same(one, other):
    return all(torch.equal(values, other[name]) for name, values in one.items())


@pytest.mark.trains
def test_each_setting_moves_what_is_learnt_and_not_what_is_measured(train):
    short = {"rollout.max_tokens": 6}  # which cuts some of the responses
    plain, weights = train("plain", **short)
    assert 0 < plain[0]["rollout/truncated"] < 1
    assert 0 < plain[0]["rollout/starved_groups"] < 1
    for name, settings in {
        "mask": {"learner.truncated": "mask"},
        "drop": {"learner.uniform_groups": "drop"},
        "overlong": {"learner.overlong": {"buffer_tokens": 1}},
    }.items():
        records, learnt = train(name, **short, **settings)
        assert not same(learnt, weights), name
        for metric in ("reward", "entropy", "rollout/truncated", "starvation"):
            assert records[0][metric] == plain[0][metric], (name, metric)


@pytest.mark.trains
def test_an_iteration_that_teaches_nothing_takes_no_step(train):
    """Every response is cut at its first token."""
    records, learnt = train("nothing", **{"rollout.max_tokens": 1, "learner.truncated": "mask"})
    _, fewer = train(
        "fewer", **{"rollout.max_tokens": 1, "learner.truncated": "mask", "learner.iterations": 1}
    )
    assert all(record["teaching/kept"] == 0.0 for record in records)
    assert all("loss" not in record for record in records)
    assert same(learnt, fewer)
