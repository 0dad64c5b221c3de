"""Weights from the learner to all servers at once, over gloo in place of NCCL: every tensor, and every way to fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from policies.rollouts import weights
from policies.rollouts.base import EngineUnavailableError, Sampling
from policies.rollouts.gpu_transfer import address_for
from policies.rollouts.open_engine import open_engine
from policies.rollouts.settings import VllmServer
from policies.rollouts.weights import whole_weights
from tests.policies.fake_vllm import FakeServer
from tests.policies.gloo_transfer import Handles, ReceivingServer, Stuck, install
from tests.policies.rollouts.pushing_ranks import NUM_PUSHES

SAMPLING = Sampling(temperature=1.0, max_tokens=6, seed=5)


@pytest.fixture(autouse=True)
def vllm(monkeypatch):
    install(monkeypatch)


@pytest.fixture
def servers(policy):
    """One of a single worker, one of two."""
    started = [ReceivingServer(policy.model, num_workers=number) for number in (1, 2)]
    yield started
    for server in started:
        server.stop()


@pytest.fixture
def engine_of(policy, tmp_path):
    opened = []

    def make(servers, **settings):
        patience = {"timeout_seconds": 20.0, "retries": 1, "backoff_seconds": 0.01, "transfer": "nccl"}
        settings = VllmServer(urls=tuple(server.url for server in servers), **patience | settings)
        opened.append(open_engine(settings, policy, max_batch_size=64, scratch=tmp_path / "engine"))
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()


def prompts_of(policy):
    return [policy.encode(text) for text in ("1+2=", "3", "4+5=")]


def move(policy):
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))


def assert_has_all(server, policy):
    expected = {name: weight.to(torch.bfloat16) for name, weight in whole_weights(policy)}
    for received in server.received:
        assert list(received) == list(expected)
        assert all(torch.equal(received[name], weight) for name, weight in expected.items())
    assert len(server.received) == server.num_workers


def test_every_worker_of_every_server_has_every_tensor_in_bfloat16_push_after_push(
    policy, engine_of, servers
):
    engine = engine_of(servers)
    for version in (3, 4):
        engine.push(version)
        groups = engine.generate(prompts_of(policy), 2, SAMPLING)
        for server in servers:
            assert_has_all(server, policy)
        assert {v for group in groups for c in group for v in c.versions.tolist()} == {version}
        move(policy)
    for server in servers:
        assert server.calls["/init_weight_transfer_engine"] == 1  # one group for all pushes
        assert server.calls["/pause"] == server.calls["/resume"] == server.calls["/reset_prefix_cache"] == 2


def test_the_workers_of_all_servers_are_in_one_group(policy, engine_of, servers):
    engine_of(servers).generate(prompts_of(policy), 1, SAMPLING)
    infos = [server.bodies["/init_weight_transfer_engine"][0]["init_info"] for server in servers]
    assert [info["rank_offset"] for info in infos] == [1, 2]  # of one worker, and of two
    assert [info["world_size"] for info in infos] == [4, 4]
    assert infos[0]["master_port"] == infos[1]["master_port"]


def test_each_weight_is_gathered_once_a_push_and_none_for_the_announcement(
    policy, engine_of, servers, monkeypatch
):
    gathered = []
    monkeypatch.setattr(weights, "full", lambda weight: gathered.append(weight.dtype) or weight)
    engine_of(servers).generate(prompts_of(policy), 1, SAMPLING)
    assert gathered == [torch.bfloat16] * len(servers[0].received[0])


def test_two_ranks_gather_each_shard_once_a_push_and_every_worker_has_every_tensor(tmp_path):
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.policies.rollouts.pushing_ranks", str(rank), str(tmp_path)],
            cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    printed = [rank.communicate()[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    first, other = (json.loads(text.splitlines()[-1]) for text in printed)
    assert first["equal"] == [True, True, True]
    for said in (first, other):
        assert said["gathers"] == [said["weights"]] * NUM_PUSHES


def test_servers_on_the_learners_gpus_are_sent_handles_bucket_by_bucket(
    policy, engine_of, servers, monkeypatch
):
    install(monkeypatch, Handles)
    for server in servers:
        server.backend = "ipc"
    engine = engine_of(servers, transfer="ipc")
    engine.generate(prompts_of(policy), 1, SAMPLING)
    for server in servers:
        assert_has_all(server, policy)
        assert server.bodies["/init_weight_transfer_engine"] == [{"init_info": {"packed": True}}]
        assert server.calls["/update_weights"] == len(server.received[0])
    engine.close()


def test_ids_without_a_token_are_told_even_if_there_are_none(policy, engine_of, servers):
    assert policy.masked_ids == ()
    engine_of(servers).generate(prompts_of(policy), 1, SAMPLING)
    assert servers[0].bodies["/collective_rpc"][-1] == {"method": "mask_ids", "args": [[]]}


@pytest.mark.parametrize("backend", [None, "ipc"])
def test_a_server_that_takes_no_weights_is_named_with_the_cure_and_no_group_is_formed(
    policy, engine_of, servers, backend
):
    servers[1].backend = backend
    with pytest.raises(EngineUnavailableError) as failure:
        engine_of(servers).generate(prompts_of(policy), 1, SAMPLING)
    assert str(failure.value).startswith(
        f"the rollout server {servers[1].url} takes no weights over 'nccl' (it takes {[backend] if backend else 'none'})"
    )
    assert "python -m policies.rollouts.vllm_launch MODEL --transfer nccl, then give the same command" in str(
        failure.value
    )
    assert [server.calls["/init_weight_transfer_engine"] for server in servers] == [0, 0]


def test_a_server_that_is_not_started_by_the_launcher_takes_no_weights(policy, engine_of):
    server = FakeServer()
    server.dies_at = {"/collective_rpc": 0}  # as without the extension of its workers
    with pytest.raises(EngineUnavailableError, match="takes no weights over 'nccl'"):
        engine_of([server]).generate(prompts_of(policy), 1, SAMPLING)
    server.stop()


def test_a_server_that_dies_in_a_push_wakes_the_learner_and_is_named(policy, engine_of, servers, monkeypatch):
    install(monkeypatch, Stuck)
    servers[1].dies_at = {"/update_weights": 0}
    servers[0].answer = lambda path, body: (  # receives nothing, and says so
        {} if path == "/update_weights" else ReceivingServer.answer(servers[0], path, body)
    )
    engine = engine_of(servers)
    with pytest.raises(EngineUnavailableError) as failure:
        engine.generate(prompts_of(policy), 1, SAMPLING)
    assert f"the rollout server {servers[1].url} was lost in the middle of a push" in str(failure.value)
    assert "start all of them again, then give the same command again" in str(failure.value)
    assert engine.transfer._trainer is None


def test_after_a_failed_push_a_learner_goes_on_with_the_servers_of_before(policy, engine_of, servers):
    servers[1].dies_at = {"/start_weight_update": 0}
    with pytest.raises(EngineUnavailableError, match="does not answer"):
        engine_of(servers).generate(prompts_of(policy), 1, SAMPLING)
    servers[1].forget()  # it was started again
    engine_of(servers).generate(prompts_of(policy), 1, SAMPLING)  # as the same command would
    for server in servers:
        assert_has_all(server, policy)


def test_a_server_that_was_restarted_is_noticed_before_anything_is_sent(policy, engine_of, servers):
    engine = engine_of(servers)
    engine.generate(prompts_of(policy), 1, SAMPLING)
    servers[0].forget()
    with pytest.raises(EngineUnavailableError, match=f"{servers[0].url} was restarted and has lost the pol"):
        engine.push(1)
    assert servers[0].calls["/update_weights"] == 1


def test_the_servers_are_left_when_the_engine_closes(policy, engine_of, servers):
    engine = engine_of(servers)
    engine.generate(prompts_of(policy), 1, SAMPLING)
    assert [len(server.groups) for server in servers] == [1, 2]
    engine.close()
    assert [server.groups for server in servers] == [[], []]


def test_the_learners_address_is_the_one_that_servers_reach(monkeypatch):
    monkeypatch.delenv("VLLM_HOST_IP", raising=False)
    assert address_for(["http://127.0.0.1:8000", "http://localhost:8001"]) == "127.0.0.1"
    away = {"http://a": "127.0.0.1", "http://b": "10.0.0.7", "http://c": "10.1.0.7"}
    monkeypatch.setattr("policies.rollouts.gpu_transfer._interface_to", away.__getitem__)
    assert address_for(away) == "10.0.0.7"
    monkeypatch.setenv("VLLM_HOST_IP", "192.168.0.3")
    assert address_for(away) == "192.168.0.3"
