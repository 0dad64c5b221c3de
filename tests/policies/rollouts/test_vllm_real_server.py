"""A real vLLM server on the loopback interface, as `vllm_launch` starts it: samples, pushes, adapters, death."""

from __future__ import annotations

import os
import threading

import pytest
import torch

from policies.model.loading import LoadedPolicy
from policies.model.tiny import character_tokenizer
from policies.model.trainable import Lora, add_adapters
from policies.rollouts import gpu_transfer
from policies.rollouts.base import EngineUnavailableError, Sampling
from policies.rollouts.open_engine import open_engine
from policies.rollouts.settings import VllmServer
from policies.rollouts.transformers_engine import TransformersEngine
from policies.statistics.response_statistics import View, observe
from policies.statistics.sequences import pack
from tests.policies.real_server import serving

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(1800)]

PROMPTS = ["1+2=", "3", "4+5=", "7+", "8+9="]
CLOSE = 1e-3  # nats


@pytest.fixture(scope="module")
def server(make_policy, tmp_path_factory):
    """The process and its address; all tests of this file share it, and the last one kills it."""
    with serving(
        make_policy(), tmp_path_factory.mktemp("served"), "--enable-lora", "--max-lora-rank", "8"
    ) as it:
        yield it


@pytest.fixture
def engine_of(server, tmp_path):
    def make(policy, **settings):
        patience = {"timeout_seconds": 300.0, "retries": 1, "backoff_seconds": 0.1} | settings
        settings = VllmServer(urls=(server[1],), **patience)
        return open_engine(settings, policy, max_batch_size=64, scratch=tmp_path / "engine")

    return make


def sampling(**changes):
    return Sampling(**({"temperature": 1.0, "max_tokens": 6, "seed": 5} | changes))


def prompts_of(policy):
    return [policy.encode(text) for text in PROMPTS]


def as_lists(groups):
    return [[completion.tokens.tolist() for completion in group] for group in groups]


def gap(policy, groups):
    rows = [prompt for prompt, group in zip(prompts_of(policy), groups) for _ in group]
    samples = [completion for group in groups for completion in group]
    packed = pack(rows, [sample.tokens for sample in samples], policy.pad_id)
    own = observe(
        policy.model, packed, View(temperature=1.0, masked_ids=policy.masked_ids), micro_batch_size=8
    ).logprobs
    return (own - torch.cat([sample.logprobs for sample in samples])).abs().max().item()


def assert_same_as_transformers(policy, engine):
    groups = engine.generate(prompts_of(policy), 1, sampling(temperature=0.0))
    own = TransformersEngine(policy.model, pad_id=policy.pad_id, stop_ids=policy.stop_ids)
    assert as_lists(groups) == as_lists(own.generate(prompts_of(policy), 1, sampling(temperature=0.0)))
    assert gap(policy, engine.generate(prompts_of(policy), 4, sampling())) < CLOSE


def move(policy, size=0.3):
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in policy.model.parameters():
            if weight.requires_grad:
                weight.add_(size * torch.randn_like(weight))


def test_samples_as_transformers_does_before_and_after_a_push(policy, engine_of):
    engine = engine_of(policy)
    assert_same_as_transformers(policy, engine)
    before = as_lists(engine.generate(prompts_of(policy), 4, sampling()))
    saved = {name: weight.clone() for name, weight in policy.model.state_dict().items()}
    move(policy)
    engine.push(3)
    assert_same_as_transformers(policy, engine)
    after = engine.generate(prompts_of(policy), 4, sampling())
    assert as_lists(after) != before
    assert {version for group in after for c in group for version in c.versions.tolist()} == {3}
    policy.model.load_state_dict(saved)
    engine.push(4)
    assert as_lists(engine.generate(prompts_of(policy), 4, sampling())) == before


def test_an_adapter_alone_is_pushed(make_policy, engine_of):
    policy = make_policy()
    engine_of(policy).generate(prompts_of(policy)[:1], 1, sampling())  # the base that adapters are laid on
    add_adapters(policy.model, Lora(rank=4))
    engine = engine_of(policy, transfer="adapter")
    assert_same_as_transformers(policy, engine)
    before = as_lists(engine.generate(prompts_of(policy), 4, sampling()))
    for size, version in ((0.3, 1), (0.1, 2)):
        move(policy, size)
        engine.push(version)
        assert_same_as_transformers(policy, engine)
    assert as_lists(engine.generate(prompts_of(policy), 4, sampling())) != before


@pytest.mark.parametrize("transfer", ["folder", "adapter"])
def test_ids_without_a_token_are_never_sampled_and_no_mask_outlives_its_policy(
    make_policy, engine_of, transfer
):
    whole = make_policy()
    engine_of(whole).generate(prompts_of(whole)[:1], 1, sampling())
    padded = LoadedPolicy(whole.model, character_tokenizer("0123456789", 64))
    assert len(padded.masked_ids) == len(whole.tokenizer) - 14  # four special tokens and ten digits
    if transfer == "adapter":
        add_adapters(padded.model, Lora(rank=4))
    engine = engine_of(padded, transfer=transfer)
    for temperature in (0.0, 1.0):
        groups = engine.generate(prompts_of(padded), 8, sampling(temperature=temperature))
        tokens = torch.cat([sample.tokens for group in groups for sample in group])
        assert not torch.isin(tokens, torch.tensor(padded.masked_ids)).any()
    assert gap(padded, groups) < CLOSE
    assert_same_as_transformers(make_policy(), engine_of(make_policy()))


def test_a_server_that_was_started_for_folders_takes_no_weights_over_nccl(policy, engine_of, monkeypatch):
    monkeypatch.setattr(gpu_transfer, "check_gpu", lambda _: None)
    with pytest.raises(
        EngineUnavailableError, match=r"takes no weights over 'nccl' \(it takes none\); start it"
    ):
        engine_of(policy, transfer="nccl").generate(prompts_of(policy), 1, sampling())
    assert_same_as_transformers(policy, engine_of(policy))  # and goes on


def test_killed_in_the_middle_of_a_rollout(policy, engine_of, server):
    process, url = server
    engine = engine_of(policy)
    engine.generate(prompts_of(policy), 1, sampling())
    threading.Timer(0.2, os.killpg, (process.pid, 9)).start()

    def sample_for_ever():
        for seed in range(10_000):
            engine.generate(prompts_of(policy), 8, sampling(max_tokens=50, seed=seed))

    with pytest.raises(EngineUnavailableError, match=f"the rollout server {url} does not answer"):
        sample_for_ever()
