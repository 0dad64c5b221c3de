"""Two processes train as one does, and a checkpoint of either is one of the other.

A sum whose order differs has another last bit; everything else is the same.  Over these four iterations of
two optimiser steps readings, commands and losses agree to 1e-4 of themselves, weights to 1e-5; measured were
2e-5 (the gap of the engine, itself rounding) and 1e-7.
"""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from orchestrator.campaign import prepare
from orchestrator.configuration.checks import check_campaign
from orchestrator.configuration.resolve import read_campaign
from orchestrator.storage.guardrail_files import read_events, read_rollbacks
from orchestrator.training import run
from orchestrator.training.entropy_control import EntropyControl
from tests.elsewhere import python_path
from tests.orchestrator.training import last_bit
from tests.orchestrator.training.forced_readings import (
    GO,
    always,
    command_and_environment,
    force_here,
    mismatched,
    waiting,
)

CLOCKS = ("seconds/", "rollout/tokens_per_second")
SETTINGS = {
    "learner.iterations": 4,
    "learner.minibatches": 2,
    "learner.micro_batch_size": 3,
    "learner.checkpoint_every": 100,
    "evaluation.every": 2,
    "evaluation.num_problems": 5,
    # A loop that regulates and is at no limit whatever the entropy, and a selection over the whole minibatch.
    "arms.1.loops.entropy.law": {"kind": "pid", "kp": 0.3, "ki": 0.05},
    "arms.1.loops.entropy.actuator": {"kind": "bonus"},
    "arms.1.loops.entropy.limits": [0.0, 1.0],
    "arms.1.loops.entropy.reference.value_nats": 2.0,
    "arms.1.loops.selection": {
        "law": {"kind": "open_loop", "value": 0.1},
        "actuator": {"kind": "clip_cov"},
    },
}

pytestmark = [pytest.mark.trains, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def make_run(write_campaign):
    return runs_of(write_campaign, SETTINGS)


def runs_of(write_campaign, settings):
    """Make the folder of the controlled arm, in a runs folder of the given name and for so many processes."""
    torch.set_num_threads(1)

    def make(name, devices=1, **changes):
        changes = {"tracking.folder": name, "learner.devices": devices, **changes}
        campaign = read_campaign(write_campaign(copy.deepcopy({**settings, **changes})))
        check_campaign(campaign)
        return prepare(campaign).run("held", 0)

    return make


def start(folder, readings=None):
    """As a process; with what its guardrails are shown."""
    command, environment = (
        command_and_environment(readings)
        if readings
        else ([sys.executable, "-P", "-m", "orchestrator.training.worker"], os.environ)
    )
    with folder.log_path.open("ab") as log:
        return subprocess.Popen(
            [*command, str(folder.path)],
            env=environment | {"OMP_NUM_THREADS": "2", "PYTHONPATH": python_path()},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def train(folder, readings=None):
    assert start(folder, readings).wait() == 0, folder.log_path.read_text()


def wait_for_iteration(folder, process, iteration):
    deadline = time.monotonic() + 400
    while not any(record.kind == "train" and record.step >= iteration for record in folder.records()):
        assert process.poll() is None, folder.log_path.read_text()
        assert time.monotonic() < deadline, folder.log_path.read_text()
        time.sleep(0.005)


def ranks_of(process):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 2
    return [int(child) for child in children]


def interrupt_alone(folder, at, monkeypatch):
    """Train in this process, and be told to stop in iteration ``at``."""

    def act(control, telemetry, t, real=EntropyControl.act):
        if t == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(control, telemetry, t)

    with monkeypatch.context() as patch:
        patch.setattr(EntropyControl, "act", act)
        assert run.main(str(folder.path)) == run.EXIT_INTERRUPTED


def assert_measured_alike(one, other):
    first, second = one.records(), other.records()
    assert [(rec.kind, rec.step) for rec in first] == [(rec.kind, rec.step) for rec in second]
    for expected, found in zip(first, second, strict=True):
        assert expected.metrics.keys() == found.metrics.keys()
        for name, value in expected.metrics.items():
            if not name.startswith(CLOCKS):
                assert found.metrics[name] == pytest.approx(value, rel=1e-4, abs=1e-5), (name, found.step)


def assert_alike(one, other):
    assert_measured_alike(one, other)
    weights = [load_file(folder.policy_path / "model.safetensors") for folder in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    for name, expected in weights[0].items():
        torch.testing.assert_close(weights[1][name], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_are_as_one(make_run, monkeypatch, strategy):
    alone = make_run("alone")
    assert run.main(str(alone.path)) == run.EXIT_DONE, alone.read_status().reason
    commands = [rec.metrics["loop/entropy/u"] for rec in alone.records() if rec.kind == "train"]
    assert len(set(commands)) > 1  # the loop has something to say

    two = {"devices": 2, "learner.strategy": strategy}
    together = make_run("together", **two)
    train(together)
    assert_alike(alone, together)

    one_then_two = make_run("one_then_two")
    interrupt_alone(one_then_two, 1, monkeypatch)
    make_run("one_then_two", **two)
    train(one_then_two)
    assert_alike(alone, one_then_two)


@pytest.mark.parametrize(("strategy", "packing"), [("ddp", "in_order"), ("fsdp2", "longest_first")])
def test_two_that_pack_their_rows_are_as_one_that_pads_them(make_run, strategy, packing):
    alone = make_run("alone")
    assert run.main(str(alone.path)) == run.EXIT_DONE, alone.read_status().reason
    budget = {
        "learner.micro_batch_size": None,
        "learner.tokens_per_micro_batch": 60,
        "learner.packing": packing,
    }
    together = make_run("together", devices=2, **budget, **{"learner.strategy": strategy})
    train(together)
    assert_alike(alone, together)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_are_as_one_with_rollouts_ahead(make_run, strategy):
    """Each rank has an engine of its own, whose weights all gather together; groups are replaced by their places."""
    ahead = {"rollout.ahead": 1, "rollout.extra_rounds": 1}
    alone = make_run("alone", **ahead)
    assert run.main(str(alone.path)) == run.EXIT_DONE, alone.read_status().reason
    together = make_run("together", devices=2, **{"learner.strategy": strategy}, **ahead)
    train(together)
    assert_alike(alone, together)


@pytest.mark.parametrize(("strategy", "ahead"), [("ddp", 0), ("ddp", 1), ("fsdp2", 0)])
def test_two_are_as_one_with_prompts_in_flight(make_run, strategy, ahead):
    """All ranks sample in every round, a policy that they share too; ahead of the learner in a thread of their own."""
    settings = {"rollout.ahead": ahead, "rollout.in_flight": {"prompts": 6, "round_tokens": 2}}
    alone = make_run("alone", **settings)
    assert run.main(str(alone.path)) == run.EXIT_DONE, alone.read_status().reason
    together = make_run("together", devices=2, **{"learner.strategy": strategy}, **settings)
    train(together)
    assert_alike(alone, together)
    assert max(rec.metrics["rollout/begun_before"] for rec in alone.records() if rec.kind == "train") > 0


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_are_told_to_stop_and_one_goes_on(make_run, monkeypatch, tmp_path, strategy):
    """The signal goes to the whole group, launcher and ranks, as a scheduler sends it."""
    stopped = make_run("stopped", devices=2, **{"learner.strategy": strategy})
    monkeypatch.setenv(GO, str(tmp_path / "go"))
    process = start(stopped, waiting)
    wait_for_iteration(stopped, process, 0)
    ranks = ranks_of(process)
    os.killpg(process.pid, signal.SIGTERM)
    (tmp_path / "go").touch()
    assert process.wait() == run.EXIT_INTERRUPTED, stopped.log_path.read_text()
    assert stopped.read_status().status == "interrupted"
    measured = [rec.step for rec in stopped.records() if rec.kind == "train"]
    assert len(measured) < 4
    saved = torch.load(stopped.checkpoint_path, weights_only=True)
    assert saved["learner"]["iteration"] == measured[-1] + 1
    assert not any(Path(f"/proc/{rank}").exists() for rank in ranks)

    make_run("stopped")
    assert run.main(str(stopped.path)) == run.EXIT_DONE, stopped.read_status().reason
    alone = make_run("alone")
    assert run.main(str(alone.path)) == run.EXIT_DONE
    assert_alike(alone, stopped)


def test_a_rank_that_dies_ends_the_run(make_run):
    doomed = make_run("doomed", devices=2, **{"learner.iterations": 1000})
    process = start(doomed)
    wait_for_iteration(doomed, process, 0)
    os.kill(ranks_of(process)[1], signal.SIGKILL)
    assert process.wait() == run.EXIT_FAILED
    status = doomed.read_status()
    assert status.status == "failed"
    assert "rank 1 of 2 was killed by SIGKILL" in status.reason
    assert not doomed.is_locked()


# Tripped at iteration 2, on all ranks.
MISMATCH = {"threshold": 0.1, "patience": 3}


def test_a_guardrail_holds_the_command_of_all_ranks(make_run, monkeypatch):
    force_here(monkeypatch, mismatched)
    hold = {"arms.1.guardrails": {"mismatch": {**MISMATCH, "action": "hold"}}}
    alone, together = make_run("alone", **hold), make_run("together", devices=2, **hold)
    assert run.main(str(alone.path)) == run.EXIT_DONE, alone.read_status().reason
    train(together, mismatched)
    assert_alike(alone, together)  # a rank with another command would have trained other weights
    records = [rec.metrics for rec in together.records() if rec.kind == "train"]
    assert [metrics["guard/mismatch"] for metrics in records] == [0.0, 0.0, 1.0, 1.0]
    assert [metrics["loop/entropy/held"] for metrics in records] == [0.0, 0.0, 0.0, 1.0]
    spoken = [metrics["loop/entropy/u"] for metrics in records[:3]]
    assert records[3]["loop/entropy/u"] == pytest.approx(sum(spoken) / 3)  # what a hold keeps
    assert len(set(spoken)) == 3
    assert [event.iteration for event in read_events(together.events_path)] == [2]


def test_a_guardrail_stops_all_ranks(make_run):
    stop = {"arms.1.guardrails": {"mismatch": {**MISMATCH, "action": "stop"}}, "learner.checkpoint_every": 1}
    stopped = make_run("stopped", devices=2, **stop)
    process = start(stopped, mismatched)
    wait_for_iteration(stopped, process, 0)
    ranks = ranks_of(process)
    assert process.wait() == run.EXIT_DONE, stopped.log_path.read_text()
    assert not any(Path(f"/proc/{rank}").exists() for rank in ranks)
    status = stopped.read_status()
    assert (status.status, status.iteration) == ("stopped", 3)
    assert status.reason.startswith("mismatch: ")
    assert not stopped.is_locked()
    assert torch.load(stopped.checkpoint_path, weights_only=True)["learner"]["iteration"] == 2


def test_a_guardrail_takes_all_ranks_back(make_run, monkeypatch):
    """Another limit does not help, so the run goes back twice and is then stopped.

    With shares of the weights on every rank, which is where there is more to put back.
    """
    force_here(monkeypatch, always)
    push = {"law": {"kind": "open_loop", "value": 1.0}, "actuator": {"kind": "bonus"}}
    explosion = {"threshold": 1.4, "patience": 1, "action": "rollback"}
    changes = {
        "learner.iterations": 6,
        "learner.checkpoint_every": 1,
        "arms.1.loops": {"entropy": push},
        "arms.1.guardrails": {"explosion": explosion, "limit_factor": 0.02},
    }
    alone = make_run("alone", **changes)
    together = make_run("together", devices=2, **changes, **{"learner.strategy": "fsdp2"})
    assert run.main(str(alone.path)) == run.EXIT_DONE, alone.read_status().reason
    train(together, always)
    assert_measured_alike(alone, together)
    for folder in (alone, together):
        status, rollbacks = folder.read_status(), read_rollbacks(folder.rollbacks_path)
        assert [rollback.to for rollback in rollbacks] == [3, 3]
        assert [rollback.limits["entropy"] for rollback in rollbacks] == [[-1.0, 0.02], [-1.0, 0.0004]]
        assert (status.status, status.iteration) == ("stopped", 5)
        assert status.reason.endswith("it was rolled back 2 times before")


def test_ranks_whose_readings_differ_in_the_last_bit_go_on_with_the_commands_of_the_first(make_run):
    run = make_run("bits", devices=2)
    process = subprocess.Popen(
        [sys.executable, "-P", last_bit.__file__, str(run.path)],
        env=os.environ | {"OMP_NUM_THREADS": "2", "PYTHONPATH": python_path()},
    )
    assert process.wait() == 0, run.read_status().reason
    first, second = (last_bit.commands_of(run.path, rank).read_text().splitlines() for rank in range(2))
    assert len(first) == SETTINGS["learner.iterations"]
    assert second == first
    recorded = [r.metrics["loop/entropy/u"] for r in run.records() if r.kind == "train"]
    assert [json.loads(line)["bonus"] for line in first] == recorded
    assert len(set(recorded)) > 1  # so the loop moved, and a last bit had something to move
