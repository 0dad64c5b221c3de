"""Runs that measure their policy in the update: the same readings one forward pass cheaper, and commands that wait."""

from __future__ import annotations

import math

import pytest
import torch

from controllers.loop import replay
from orchestrator.campaign import prepare
from orchestrator.configuration.checks import check_campaign
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.resolve import read_campaign
from orchestrator.training import run as worker
from orchestrator.training.ranks import Ranks
from orchestrator.training.update import Updater
from tests.orchestrator.training.test_resume import CLOCKS, crash, results
from tests.orchestrator.training.test_two_processes import assert_alike, train
from tests.test_metrics_doc import is_documented

pytestmark = pytest.mark.trains

IN_UPDATE = {"learner.measure": "in_update"}
HELD = {
    "entropy": {
        "reference": {"kind": "constant", "value_nats": 2.0},
        "law": {"kind": "pid", "kp": 0.3, "ki": 0.05},
        "actuator": {"kind": "bonus"},
    }
}

# It is at neutral and moves nothing, and its part of the vocabulary is read all the same.
CLAMPED = {"aent": {"law": {"kind": "open_loop", "value": 0.0}, "actuator": {"kind": "clamped_bonus"}}}


@pytest.fixture
def make_run(write_campaign):
    """The folder of a run with a loop on its bonus, of a campaign with these changes."""
    torch.set_num_threads(1)

    def make(name, loops=HELD, **changes):
        arm = {"name": "held", "loops": loops}
        settings = {"learner.iterations": 6, "learner.checkpoint_every": 2, "arms": [arm]}
        campaign = read_campaign(write_campaign(settings | changes | {"tracking.folder": name}))
        check_campaign(campaign)
        return prepare(campaign).run("held", 0)

    return make


def finish(run):
    assert worker.main(str(run.path)) == worker.EXIT_DONE, run.read_status().reason
    return [record.metrics for record in run.records() if record.kind == "train"]


def without_clocks(metrics):
    return {name: value for name, value in metrics.items() if not name.startswith(CLOCKS)}


@pytest.mark.parametrize("loops", [{}, CLAMPED], ids=["no loop", "a part of the vocabulary"])
def test_readings_are_those_of_a_pass_before_the_update(make_run, loops):
    """Weights part by rounding alone: an old log-prob is the engine's."""
    before, within = (finish(make_run(name, loops, **more)) for name, more in (("a", {}), ("b", IN_UPDATE)))
    assert ("entropy/filtered" in before[0]) == bool(loops)
    for metrics in within:
        metrics.pop("loop/aent/dead_time", None)
    assert without_clocks(within[0]).keys() == without_clocks(before[0]).keys()
    for t, (one, other) in enumerate(zip(before, within, strict=True)):
        for name, value in without_clocks(one).items():
            assert other[name] == pytest.approx(value, rel=1e-3, abs=1e-5), (t, name)
    assert within[0]["entropy"] == before[0]["entropy"]
    assert 0.0 < within[0]["rollout/logprob_gap"] == before[0]["rollout/logprob_gap"] < 1e-5


def test_a_command_waits_for_the_next_update_and_the_trace_says_so(make_run, monkeypatch):
    acted, act = [], Updater.accumulate

    def watched(updater, update, rows, sequences, batch, actuation, view):
        acted.append([u for _, u, _ in actuation.active])
        return act(updater, update, rows, sequences, batch, actuation, view)

    monkeypatch.setattr(Updater, "accumulate", watched)
    found = finish(make_run("run", **IN_UPDATE))
    commands = [metrics["loop/entropy/u"] for metrics in found]
    assert len(set(commands)) == 6
    assert acted == [[], *([u] for u in commands[:-1])]
    assert {metrics["loop/entropy/dead_time"] for metrics in found} == {1.0}
    assert all(map(is_documented, found[-1]))
    before = {"learner.measure": "before_update", "learner.iterations": 1}
    assert "loop/entropy/dead_time" not in finish(make_run("before", **before))[0]


def test_a_command_on_sampling_waits_no_longer_than_before(make_run):
    warm = {"entropy": {**HELD["entropy"], "actuator": {"kind": "temperature"}}}
    found = finish(make_run("run", warm, **IN_UPDATE))
    temperatures = [metrics["rollout/temperature"] for metrics in found]
    assert temperatures == [1.0, *(metrics["loop/entropy/u"] for metrics in found[:-1])]
    assert "loop/entropy/dead_time" not in found[0]


def test_there_is_one_forward_pass_less(make_run, monkeypatch):
    passes, observe = [], Ranks.observe
    monkeypatch.setattr(Ranks, "observe", lambda *args, **kw: passes.append(1) or observe(*args, **kw))
    finish(make_run("before", **{"learner.iterations": 2, "learner.minibatches": 3}))
    assert len(passes) == 2  # and the bonus looks at no minibatch again
    passes.clear()
    finish(make_run("in", **IN_UPDATE, **{"learner.iterations": 2, "learner.minibatches": 3}))
    assert not passes


def test_of_several_minibatches_the_first_is_read_and_rewards_are_of_all(make_run):
    """What the second step sees is of a policy that has moved."""
    settings = {"learner.minibatches": 2, "learner.iterations": 1, "learner.learning_rate": 1e-2}
    first = {**settings, "learner.minibatches": 1}
    (whole,), (part,) = (
        finish(make_run(str(n), {}, **s)) for n, s in enumerate((first, settings | IN_UPDATE))
    )
    assert part["reward"] == whole["reward"]
    assert part["teaching_groups"] == whole["teaching_groups"]
    assert part["entropy/standard_error"] > 0.0
    assert part["entropy"] != whole["entropy"]
    assert abs(part["entropy"] - whole["entropy"]) < 4 * part["entropy/standard_error"]
    assert part["rollout/logprob_gap"] < 1e-5  # the policy has not moved where it was read


@pytest.mark.parametrize(
    "settings",
    [
        {"learner.minibatches": 2, "learner.epochs": 2, "learner.tokens_per_micro_batch": 60},
        {
            "rollout.ahead": 1,
            "rollout.in_flight": {"prompts": 6, "round_tokens": 2},
            "policy.lora": {"rank": 4},
        },
    ],
    ids=["packed", "ahead, in flight, an adapter"],
)
def test_a_run_that_crashed_continues_bit_for_bit(make_run, monkeypatch, settings):
    straight, broken = (make_run(name, **IN_UPDATE, **settings) for name in ("straight", "broken"))
    found = finish(straight)
    assert all(math.isfinite(metrics["entropy"]) for metrics in found)
    assert len({metrics["loop/entropy/u"] for metrics in found}) > 1
    crash(broken, monkeypatch)
    finish(broken)
    assert results(broken) == results(straight)


def test_a_replay_of_the_record_gives_the_same_commands(make_run):
    """A row has the reading and the command that it made, whenever that acts."""
    run = make_run("run", **IN_UPDATE)
    found = finish(run)
    loop = RunConfig(**run.read_info().config).loops["entropy"].build(measure="in_update")
    assert [trace.u for trace in replay(loop, found)] == [metrics["loop/entropy/u"] for metrics in found]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_ranks_are_as_one(make_run, strategy):
    settings = IN_UPDATE | {
        "learner.minibatches": 2,
        "learner.micro_batch_size": 3,
        "learner.strategy": strategy,
    }
    alone = make_run("alone", **settings)
    finish(alone)
    together = make_run("together", **settings, **{"learner.devices": 2})
    train(together)
    assert_alike(alone, together)
