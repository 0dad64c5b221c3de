"""Rollouts ahead of the learner: as old as they are said to be, and bit for bit the same after a kill."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
import torch

from orchestrator.campaign import prepare
from orchestrator.configuration.resolve import read_campaign
from orchestrator.training import run as worker
from orchestrator.training.batches import Batches
from tests.orchestrator.training.test_resume import assert_same, in_own_process, wait_for_iteration
from tests.test_metrics_doc import is_documented

pytestmark = pytest.mark.trains

ITERATIONS = 7


@pytest.fixture
def make_run(write_campaign, campaign_content):
    """A run whose loop moves the sampling temperature, and whose groups without a signal are replaced once."""

    def make(name, ahead, **changes):
        torch.set_num_threads(1)
        campaign_content["arms"][1]["loops"] = {
            "entropy": {
                "reference": {"kind": "constant", "value_nats": 0.8},
                "law": {"kind": "auto"},
                "actuator": {"kind": "temperature"},
            }
        }
        content = {
            "learner.iterations": ITERATIONS,
            "learner.checkpoint_every": 3,
            "learner.importance": {"kind": "truncated", "cap": 2.0},
            "rollout.ahead": ahead,
            "rollout.extra_rounds": 1,
            "tracking.folder": name,
            "arms.1.method": None,
        }
        return prepare(read_campaign(write_campaign(content | changes))).run("held", 0)

    return make


def column(folder, metric):
    return [record.metrics[metric] for record in folder.records() if record.kind == "train"]


def finish(folder):
    assert worker.main(str(folder.path)) == worker.EXIT_DONE, folder.read_status().reason
    return folder


def test_batches_are_as_old_as_said_and_a_killed_run_goes_on_bit_for_bit(make_run):
    straight = finish(make_run("straight", ahead=2))
    assert not straight.engine_path.exists()  # the engine's weights are on the disk of this machine
    ages = [0.0, 1.0] + [2.0] * (ITERATIONS - 2)
    assert column(straight, "rollout/staleness") == column(straight, "rollout/staleness/max") == ages
    gaps = column(straight, "rollout/logprob_gap")
    assert gaps[0] < 1e-4 < max(gaps[2:])  # the engine has the weights of iteration 0, and then older ones
    assert 0.0 < max(column(straight, "rollout/extra_groups")) <= 1.0
    (*_, last) = (record.metrics for record in straight.records() if record.kind == "train")
    assert all(map(is_documented, last))
    # A command is in the batch that is begun after it: two iterations later than in turns.
    commands, temperatures = column(straight, "loop/entropy/u"), column(straight, "rollout/temperature")
    assert temperatures[:3] == [1.0] * 3
    assert temperatures[3:] == commands[: ITERATIONS - 3]

    killed = make_run("killed", ahead=2)
    process = in_own_process(killed)
    wait_for_iteration(killed, process, 4)
    its_own = psutil.Process(process.pid).children(recursive=True)
    assert any("spawn_main" in " ".join(each.cmdline()) for each in its_own)  # the engine's, and a grader's
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert psutil.wait_procs(its_own, timeout=60)[1] == []  # none outlives the run
    kept = torch.load(killed.checkpoint_path, weights_only=True)["learner"]
    done = kept["iteration"]
    assert list(kept["batches"]) == [done, done + 1]
    assert_same(straight, finish(killed))


@pytest.mark.slow
def test_an_engine_that_dies_with_prompts_in_flight_interrupts_the_run_which_then_goes_on(
    make_run, monkeypatch
):
    straight = finish(make_run("straight", ahead=1))
    run = make_run("died", ahead=1)
    begin = Batches._begin

    def begin_and_kill(batches, iteration, sampling):
        if iteration == 5 and not run.checkpoint_path.with_name("died").exists():
            run.checkpoint_path.with_name("died").touch()
            os.kill(batches.explorer.engine.process_id, signal.SIGKILL)
        begin(batches, iteration, sampling)

    monkeypatch.setattr(Batches, "_begin", begin_and_kill)
    assert worker.main(str(run.path)) == worker.EXIT_INTERRUPTED
    reason = run.read_status().reason
    assert "the process of the rollout engine 'transformers' has ended (exit code -9" in reason
    assert "give the same command again" in reason
    assert_same(straight, finish(run))
