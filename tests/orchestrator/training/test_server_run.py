"""A run whose rollouts come from a server: it learns the same, and outlives the server."""

from __future__ import annotations

import pytest
import torch

from orchestrator.campaign import prepare
from orchestrator.configuration.resolve import read_campaign
from orchestrator.training import run as worker
from orchestrator.training.start import load_policy
from tests.policies.fake_vllm import FakeServer
from tests.policies.gloo_transfer import ReceivingServer, install

pytestmark = pytest.mark.trains

CLOCKS = ("seconds/", "rollout/tokens_per_second")


@pytest.fixture
def server():
    started = FakeServer()
    yield started
    started.stop()


@pytest.fixture
def receiving(write_campaign, monkeypatch):
    """A server that takes weights as files and, by gloo here, from GPU to GPU."""
    install(monkeypatch)
    started = ReceivingServer(load_policy(read_campaign(write_campaign({})).arms[0].config).model)
    yield started
    started.stop()


@pytest.fixture
def make_run(write_campaign, server):
    def make(name, ahead=0, **engine):
        torch.set_num_threads(1)
        settings = {"kind": "vllm_server", "urls": [server.url], "retries": 1, "backoff_seconds": 0.01}
        changes = {
            "rollout.engine": settings | engine,
            "rollout.ahead": ahead,
            "learner.iterations": 4,
            "learner.checkpoint_every": 1,
            "tracking.folder": name,
        }
        return prepare(read_campaign(write_campaign(changes))).run("grpo", 0)

    return make


def results(folder):
    """Everything measured but for the clocks."""
    return [
        (record.step, record.kind, {k: v for k, v in record.metrics.items() if not k.startswith(CLOCKS)})
        for record in folder.records()
    ]


def column(folder, metric):
    return [record.metrics[metric] for record in folder.records() if record.kind == "train"]


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [0, 1])
def test_a_server_that_dies_interrupts_the_run_which_then_goes_on_to_the_same_end(make_run, server, ahead):
    straight = make_run("straight", ahead)
    assert worker.main(str(straight.path)) == worker.EXIT_DONE, straight.read_status().reason
    gaps = column(straight, "rollout/logprob_gap")
    assert max(gaps if ahead == 0 else gaps[:1]) < 1e-4  # every push arrived
    assert column(straight, "rollout/staleness") == [0.0, *[float(ahead)] * 3]

    run = make_run("died", ahead)
    server.dies_after = len(server.asked) + 22  # an evaluation asks for 12, an iteration for 4
    assert worker.main(str(run.path)) == worker.EXIT_INTERRUPTED
    status = run.read_status()
    assert status.status == "interrupted"
    assert f"the rollout server {server.url} does not answer, after 2 attempts" in status.reason
    assert "start it again, then give the same command again" in status.reason
    assert 0 < len(column(run, "loss")) < 4

    server.forget()
    assert worker.main(str(run.path)) == worker.EXIT_DONE
    assert results(run) == results(straight)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("transfer", "dies_at"), [("folder", "/collective_rpc"), ("nccl", "/finish_weight_update")]
)
def test_a_server_that_dies_in_a_push_interrupts_the_run_which_then_goes_on_to_the_same_end(
    make_run, receiving, transfer, dies_at
):
    straight = make_run("straight", transfer=transfer, urls=[receiving.url])
    assert worker.main(str(straight.path)) == worker.EXIT_DONE, straight.read_status().reason

    run = make_run("died", transfer=transfer, urls=[receiving.url])
    receiving.dies_at = {dies_at: receiving.calls[dies_at] + 3}  # after an iteration
    assert worker.main(str(run.path)) == worker.EXIT_INTERRUPTED
    status = run.read_status()
    assert f"the rollout server {receiving.url} does not answer" in status.reason
    assert "start it again, then give the same command again" in status.reason
    assert 0 < len(column(run, "loss")) < 4

    receiving.forget()
    assert worker.main(str(run.path)) == worker.EXIT_DONE
    assert results(run) == results(straight)


@pytest.mark.slow
def test_rare_pushes_show_as_staleness_and_are_corrected(make_run, server, campaign_content):
    campaign_content["learner"]["importance"] = {"kind": "truncated", "cap": 2.0}
    push = {"law": {"kind": "open_loop", "value": 0.5}, "actuator": {"kind": "bonus"}}
    campaign_content["arms"][0]["loops"] = {
        "push": push
    }  # so that every step moves the policy, whatever the rewards
    run = make_run("stale", push_every=2)
    assert worker.main(str(run.path)) == worker.EXIT_DONE, run.read_status().reason
    assert column(run, "rollout/staleness") == column(run, "rollout/staleness/max") == [0.0, 1.0, 0.0, 1.0]
    gaps = column(run, "rollout/logprob_gap")
    assert max(gaps[0], gaps[2]) < 1e-4 < 1e-3 < min(gaps[1], gaps[3])
    off = [abs(ratio - 1.0) for ratio in column(run, "importance/ratio")]
    assert max(off[0], off[2]) < 1e-4 < off[1] + off[3]  # 1 is its mean, so either may be near it by chance
