"""The client of vLLM servers, against fakes that sample with the weights they were given and fail on request."""

from __future__ import annotations

import logging
import re
import threading

import pytest
import torch

from policies.model.trainable import Lora, add_adapters
from policies.rollouts.base import EngineUnavailableError, Sampling
from policies.rollouts.open_engine import open_engine
from policies.rollouts.replica import RefusedRequestError, Replica
from policies.rollouts.settings import VllmServer
from policies.rollouts.transformers_engine import TransformersEngine
from policies.rollouts.vllm_server import VllmServerEngine
from policies.rollouts.weight_pushing import prompt_seed
from policies.statistics.response_statistics import View, observe
from policies.statistics.sequences import pack
from tests.policies.fake_vllm import FakeServer

PROMPTS = ["1+2=", "3", "4+5=", "7+", "8+9="]


@pytest.fixture
def servers():
    started = [FakeServer(), FakeServer()]
    yield started
    for server in started:
        server.stop()


@pytest.fixture
def prompts(policy):
    return [policy.encode(text) for text in PROMPTS]


@pytest.fixture
def engine_of(policy, tmp_path):
    def make(*servers, **settings):
        patience = {"timeout_seconds": 20.0, "retries": 2, "backoff_seconds": 0.01} | settings
        urls = tuple(server.url for server in servers)
        settings = VllmServer(urls=urls, **patience)
        return open_engine(settings, policy, max_batch_size=64, scratch=tmp_path / "engine")

    return make


def sampling(**changes):
    return Sampling(**({"temperature": 1.0, "max_tokens": 6, "seed": 5} | changes))


def as_lists(groups):
    return [[completion.tokens.tolist() for completion in group] for group in groups]


def test_what_is_asked_for(policy, engine_of, servers, prompts):
    engine_of(servers[0]).generate(prompts[:2], 3, sampling(temperature=0.7, first_prompt=4))
    asked = {tuple(body["token_ids"]): body["sampling_params"] for body in servers[0].asked}
    assert asked == {
        tuple(prompts[number].tolist()): {
            "n": 3,
            "temperature": 0.7,
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "max_tokens": 6,
            "seed": prompt_seed(5, 4 + number),
            "logprobs": 0,
            "stop_token_ids": list(policy.stop_ids),
            "ignore_eos": True,
            "detokenize": False,
        }
        for number in range(2)
    }


def test_seeds_have_room_for_one_a_sample():
    assert len({prompt_seed(seed, number) for seed in range(50) for number in range(50)}) == 2500
    assert all(0 <= prompt_seed(2**63 - 1, number) < 2**62 for number in range(100))


def test_prompts_are_dealt_and_samples_come_back_in_order(policy, engine_of, servers, prompts):
    groups = engine_of(*servers).generate(prompts, 1, sampling(temperature=0.0))
    own = TransformersEngine(policy.model, pad_id=policy.pad_id, stop_ids=policy.stop_ids)
    assert as_lists(groups) == as_lists(own.generate(prompts, 1, sampling(temperature=0.0)))
    assert [len(server.asked) for server in servers] == [3, 2]


def test_those_who_watch_are_told_of_each_prompt(engine_of, servers, prompts):
    engine, told = engine_of(*servers), []
    with engine.told_to(told.append):
        engine.generate(prompts, 3, sampling())
    assert told == [3] * len(prompts)


def test_small_shares_of_many_ranks_are_dealt_over_all_replicas(engine_of, servers, prompts):
    for first in range(4):  # ranks with a prompt each, which all would ask the first replica
        engine_of(*servers).generate(prompts[:1], 1, sampling(first_prompt=first))
    assert [len(server.asked) for server in servers] == [2, 2]


def test_it_does_not_matter_which_replica_answers(engine_of, servers, prompts):
    alone = engine_of(servers[0]).generate(prompts, 4, sampling())
    assert as_lists(engine_of(*servers).generate(prompts, 4, sampling())) == as_lists(alone)


def test_logprobs_and_ends_are_those_of_the_samples(policy, engine_of, servers, prompts):
    groups = engine_of(servers[0]).generate(prompts, 4, sampling())
    rows = [prompt for prompt, group in zip(prompts, groups) for _ in group]
    samples = [completion for group in groups for completion in group]
    packed = pack(rows, [sample.tokens for sample in samples], policy.pad_id)
    expected = observe(policy.model, packed, View(temperature=1.0), micro_batch_size=4).logprobs
    torch.testing.assert_close(
        torch.cat([sample.logprobs for sample in samples]), expected, atol=1e-4, rtol=0
    )
    for sample in samples:
        assert sample.finished == (sample.tokens[-1].item() in policy.stop_ids)


def test_greedy_samples_of_a_prompt_are_asked_for_once(engine_of, servers, prompts):
    groups = engine_of(servers[0]).generate(prompts[:1], 3, sampling(temperature=0.0))
    assert len(groups[0]) == 3
    assert servers[0].asked[0]["sampling_params"]["n"] == 1


def test_greedy_and_sampled_responses_side_by_side_are_those_of_two_passes(engine_of, servers, prompts):
    engine, told = engine_of(*servers), []
    greedy = engine.generate(prompts, 1, sampling(temperature=0.0))
    sampled = engine.generate(prompts, 2, sampling(temperature=1.5))
    with engine.told_to(told.append):
        both = engine.generate(prompts, 3, sampling(temperature=1.5, greedy_first=True))
    assert as_lists(both) == as_lists([one + others for one, others in zip(greedy, sampled)])
    assert sum(told) == 3 * len(prompts)


def test_greedy_and_sampled_responses_are_waited_for_at_once(engine_of, servers, prompts, monkeypatch):
    engine = engine_of(servers[0])
    together, ask = threading.Barrier(2 * len(prompts)), VllmServerEngine._ask

    def asked(*args):
        together.wait(timeout=20)
        return ask(*args)

    monkeypatch.setattr(VllmServerEngine, "_ask", asked)
    groups = engine.generate(prompts, 3, sampling(temperature=1.5, greedy_first=True))
    assert [len(group) for group in groups] == [3] * len(prompts)


def test_a_push_changes_what_is_sampled_and_is_the_version_of_every_token(
    policy, engine_of, servers, prompts
):
    engine = engine_of(*servers)
    engine.push(3)  # nothing is in the servers yet: only a number
    assert servers[0].calls == {}
    before = engine.generate(prompts, 2, sampling())
    assert {version for group in before for c in group for version in c.versions.tolist()} == {3}
    saved = {name: weight.clone() for name, weight in policy.model.state_dict().items()}
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    engine.push(4)
    after = engine.generate(prompts, 2, sampling())
    assert as_lists(after) != as_lists(before)
    assert {version for group in after for c in group for version in c.versions.tolist()} == {4}
    policy.model.load_state_dict(saved)
    engine.push(5)
    assert as_lists(engine.generate(prompts, 2, sampling())) == as_lists(before)
    assert [server.calls["/collective_rpc"] for server in servers] == [3, 3]
    assert servers[0].calls["/reset_prefix_cache"] == 3  # or cached keys and values of old weights are used


def test_pushes_may_be_rarer_than_updates(engine_of, servers, prompts):
    engine = engine_of(servers[0], push_every=3)
    versions = []
    for version in range(7):
        engine.push(version)
        (group,) = engine.generate(prompts[:1], 1, sampling())
        versions.append(group[0].versions[0].item())
    assert versions == [0, 0, 0, 3, 3, 3, 6]
    engine.push(5)  # rolled back: what is in the engine is of no policy that there is
    assert engine.generate(prompts[:1], 1, sampling())[0][0].versions[0] == 5


@pytest.mark.parametrize("trouble", ["say_503", "hang_up"])
def test_a_disturbed_request_is_tried_again(engine_of, servers, prompts, trouble):
    quiet = as_lists(engine_of(servers[0]).generate(prompts, 2, sampling()))
    setattr(servers[0], trouble, 2)
    assert as_lists(engine_of(servers[0]).generate(prompts, 2, sampling())) == quiet
    assert getattr(servers[0], trouble) == 0


def test_a_refusal_is_not_tried_again(engine_of, servers, prompts):
    servers[0].refuse = 400
    with pytest.raises(RefusedRequestError, match=r"generate: HTTP 400: .*token 99 is not in the vocabulary"):
        engine_of(servers[0]).generate(prompts[:1], 1, sampling())


def test_a_replica_that_is_gone_leaves_its_prompts_to_the_others(engine_of, servers, prompts):
    engine = engine_of(*servers)
    expected = as_lists(engine.generate(prompts, 2, sampling()))
    servers[1].stop()
    assert as_lists(engine.generate(prompts, 2, sampling())) == expected
    engine.push(1)  # asked again, still not there, and left out
    assert as_lists(engine.generate(prompts, 2, sampling())) == expected


def test_the_last_replica_that_is_gone_ends_it_with_its_address_and_the_cure(engine_of, servers, prompts):
    engine = engine_of(servers[0])
    engine.generate(prompts, 1, sampling())
    servers[0].stop()
    with pytest.raises(EngineUnavailableError) as failure:
        engine.generate(prompts, 1, sampling())
    assert f"the rollout server {servers[0].url} does not answer, after 3 attempts" in str(failure.value)
    assert "the run continues from its last checkpoint" in str(failure.value)


def test_a_server_that_was_started_anew_is_given_the_weights_again(engine_of, servers, prompts):
    engine = engine_of(*servers)
    expected = as_lists(engine.generate(prompts, 2, sampling()))
    servers[1].forget()
    assert as_lists(engine.generate(prompts, 2, sampling())) == expected
    assert [server.calls["/collective_rpc"] for server in servers] == [1, 2]


def test_an_adapter_is_given_alone_and_asked_for_by_name(policy, engine_of, servers, prompts, tmp_path):
    add_adapters(policy.model, Lora(rank=2))
    servers[0].model = policy.model  # what a server makes of an adapter is for a real one to show
    engine = engine_of(servers[0], transfer="adapter")
    engine.generate(prompts[:1], 1, sampling())
    assert servers[0].calls["/v1/load_lora_adapter"] == 1
    assert servers[0].calls["/collective_rpc"] == 0
    assert servers[0].asked[0]["model"] == "policy"
    assert (tmp_path / "engine" / "weights" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "engine" / "weights" / "model.safetensors").exists()


def test_two_runs_on_one_server_are_noticed(engine_of, servers, prompts, monkeypatch):
    engine = engine_of(servers[0])
    monkeypatch.setattr(type(servers[0]), "version", property(lambda _: "other-0", lambda *_: None), False)
    with pytest.raises(EngineUnavailableError, match="another run pushes to the same server"):
        engine.generate(prompts[:1], 1, sampling())


def test_prompt_that_does_not_fit_the_context(engine_of, servers, prompts):
    with pytest.raises(ValueError, match=r"context of 64 tokens"):
        engine_of(servers[0]).generate(prompts, 1, sampling(max_tokens=61))
    assert servers[0].asked == []


def test_a_server_that_asks_for_a_password_is_given_it_and_no_message_shows_it(servers, caplog):
    caplog.set_level(logging.INFO)  # as a run does
    server = servers[0]

    def replica(query=""):
        return Replica(
            address=f"http://me:p%40ss@127.0.0.1:{server.port}/{query}",
            timeout_seconds=10.0,
            retries=0,
            backoff_seconds=0.01,
        )

    replica().post("/pause?mode=abort")
    assert server.shown == {("Basic bWU6cEBzcw==", "mode=abort")}  # me:p@ss
    replica("?api_key=k3y").post("/pause?mode=abort")
    assert ("Basic bWU6cEBzcw==", "api_key=k3y") in server.shown
    server.stop()
    with pytest.raises(EngineUnavailableError) as caught:
        replica("?api_key=k3y").post("/resume")
    assert f"the rollout server {server.url} does not answer" in str(caught.value)
    assert not re.search("me:|p%40ss|p@ss|k3y", str(caught.value))
    assert not re.search("me:|p%40ss|p@ss|k3y", caplog.text)
