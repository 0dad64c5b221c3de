"""Runs with prompts in flight: old weights are bounded and recorded, and a killed run goes on bit for bit."""

from __future__ import annotations

import signal

import pytest
import torch

from orchestrator.campaign import prepare
from orchestrator.configuration.resolve import read_campaign
from orchestrator.training import run as worker
from tests.orchestrator.training.test_resume import assert_same, in_own_process, wait_for_iteration
from tests.orchestrator.training.test_server_run import results
from tests.policies.fake_vllm import FakeServer
from tests.test_metrics_doc import is_documented

pytestmark = pytest.mark.trains

ITERATIONS = 7
BOUND = 2  # updates


@pytest.fixture
def make_run(write_campaign):
    def make(name, ahead=0, unfinished="go_on", **changes):
        torch.set_num_threads(1)
        content = {
            "learner.iterations": ITERATIONS,
            "learner.checkpoint_every": 3,
            "learner.importance": {"kind": "truncated", "cap": 2.0},
            "rollout.in_flight": {"prompts": 8, "round_tokens": 1, "unfinished": unfinished},
            "rollout.max_staleness": BOUND,
            "rollout.ahead": ahead,
            "tracking.folder": name,
        }
        return prepare(read_campaign(write_campaign(content | changes))).run("held", 0)

    return make


@pytest.fixture
def server():
    started = FakeServer()
    yield started
    started.stop()


def column(folder, metric):
    return [record.metrics[metric] for record in folder.records() if record.kind == "train"]


def finish(folder):
    assert worker.main(str(folder.path)) == worker.EXIT_DONE, folder.read_status().reason
    return folder


def test_old_weights_are_bounded_and_recorded(make_run):
    run = finish(make_run("run"))
    oldest, means = column(run, "rollout/staleness/max"), column(run, "rollout/staleness")
    assert max(oldest) == BOUND
    assert any(0 < mean < old for mean, old in zip(means, oldest, strict=True))
    assert max(column(run, "rollout/begun_before")) > 0
    gaps = column(run, "rollout/logprob_gap")
    assert gaps[0] < 1e-4 < max(gaps)  # a token of old weights has the log-probability that it had under them
    (*_, last) = (record.metrics for record in run.records() if record.kind == "train")
    assert all(map(is_documented, last))


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [0, 1])
def test_a_killed_run_goes_on_bit_for_bit(make_run, ahead):
    straight = finish(make_run("straight", ahead))
    killed = make_run("killed", ahead)
    process = in_own_process(killed)
    wait_for_iteration(killed, process, 4)
    process.send_signal(signal.SIGKILL)
    process.wait()
    in_flight = torch.load(killed.checkpoint_path, weights_only=True)["learner"]["in_flight"]
    assert any(response for group in in_flight["groups"] for response in group["responses"])
    assert_same(straight, finish(killed))


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [0, 1])
def test_a_server_that_dies_with_prompts_in_flight_interrupts_a_run_which_then_goes_on(
    make_run, server, ahead
):
    engine = {"kind": "vllm_server", "urls": [server.url], "retries": 1, "backoff_seconds": 0.01}
    straight = finish(make_run("straight", ahead, **{"rollout.engine": engine}))
    assert max(column(straight, "rollout/staleness/max")) == BOUND
    num_asked = len(server.asked)
    run = make_run("died", ahead, **{"rollout.engine": engine, "learner.checkpoint_every": 1})
    server.forget()
    server.dies_after = num_asked + num_asked // 2
    assert worker.main(str(run.path)) == worker.EXIT_INTERRUPTED
    assert "start it again, then give the same command again" in run.read_status().reason
    assert 0 < len(column(run, "loss")) < ITERATIONS
    server.forget()
    assert results(finish(run)) == results(straight)


def test_what_is_dropped_costs_no_staleness(make_run):
    run = finish(make_run("dropped", unfinished="dropped"))
    assert column(run, "rollout/staleness/max") == [0.0] * ITERATIONS
    assert max(column(run, "rollout/logprob_gap")) < 1e-4
    assert column(run, "rollout/begun_before") == [0.0] * ITERATIONS
