"""What vLLM is started with and asked for, seen by one that only takes note: these tests need no vLLM."""

from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from policies.rollouts import vllm_engine
from policies.rollouts.base import Sampling
from policies.rollouts.settings import Vllm
from policies.rollouts.vllm_engine import VllmEngine
from policies.rollouts.vllm_launch import serve_command, serve_environment


class LLM:
    """In vLLM's place: knows what it was started with, and answers each request with its own samples."""

    def __init__(self, **arguments):
        self.arguments = arguments
        self.calls = []
        self.llm_engine = SimpleNamespace(
            set_weight_version=lambda version: self.calls.append(("version", version))
        )

    def collective_rpc(self, name, args):
        self.calls.append((name, len(list(args[0])) > 0))

    def reset_prefix_cache(self):
        self.calls.append(("reset", None))

    def wake_up(self, tags):
        self.calls.append(("wake_up", tags))

    def sleep(self, level):
        self.calls.append(("sleep", level))

    def generate(self, prompts, asked, use_tqdm):
        self.calls.append(("generate", [each["n"] for each in asked]))
        return [
            SimpleNamespace(outputs=[sample(prompt["prompt_token_ids"][-1], j) for j in range(one["n"])])
            for prompt, one in zip(prompts, asked)
        ]


def sample(token, number):
    """Two tokens, of which the second ends it; the weights of version 5 made both."""
    tokens = [token, number]
    return SimpleNamespace(
        token_ids=tokens,
        logprobs=[{each: SimpleNamespace(logprob=-1.0 - at)} for at, each in enumerate(tokens)],
        weight_versions=[SimpleNamespace(version="5", start=0, end=2)],
        finish_reason="stop" if number == 0 else "length",
    )


@pytest.fixture
def start(make_policy, monkeypatch):
    """`start(max_model_len=…)`: an engine with these settings whose weights of version 5 were pushed."""
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = LLM, dict
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setattr(vllm_engine, "why_no_vllm", lambda: None)
    monkeypatch.setattr(vllm_engine, "why_no_head", lambda _: None)
    for name in (*vllm_engine.ENVIRONMENT, "VLLM_LOGGING_LEVEL"):
        monkeypatch.setenv(name, "")

    def start(**settings):
        engine = VllmEngine(make_policy(), Vllm(**settings), max_batch_size=17)
        engine._load(5)
        return engine

    return start


@pytest.mark.parametrize(
    ("settings", "name", "expected"),
    [
        ({"cache_gib": 0.25}, "kv_cache_memory_bytes", 268_435_456),  # 2**30 / 4
        ({}, "kv_cache_memory_bytes", 1_073_741_824),  # 1 GiB on a CPU
        ({}, "dtype", "float32"),
        ({"dtype": "bfloat16"}, "dtype", "bfloat16"),
        ({"memory_fraction": 0.5}, "gpu_memory_utilization", 0.5),
        ({"max_model_len": 9}, "max_model_len", 9),
        ({}, "max_num_seqs", 17),
        ({}, "enforce_eager", True),  # always, on a CPU
        ({"sleep": True}, "enable_sleep_mode", False),  # only on a GPU
        ({}, "block_size", 32),
        ({}, "tensor_parallel_size", 1),
        ({}, "load_format", "dummy"),  # the weights are pushed
        ({}, "logprobs_mode", "processed_logprobs"),  # of the distribution that is sampled from
        ({}, "generation_config", "vllm"),  # not the checkpoint's
    ],
)
def test_what_an_engine_on_a_cpu_is_started_with(start, settings, name, expected):
    arguments = start(**settings)._llm.arguments
    assert arguments[name] == expected
    assert "distributed_executor_backend" not in arguments  # one process alone


@pytest.mark.parametrize("transfer", ["folder", "adapter", "nccl", "ipc"])
def test_a_server_is_started_for_the_transfer_that_it_is_to_take_weights_by(transfer):
    command, environment = serve_command("model", port=1, transfer=transfer), serve_environment(transfer)
    between_gpus = transfer in ("nccl", "ipc")
    assert ("--weight-transfer-config" in command) == between_gpus
    if between_gpus:
        value = command[command.index("--weight-transfer-config") + 1]
        assert json.loads(value) == {"backend": transfer}
    assert ("VLLM_ALLOW_INSECURE_SERIALIZATION" in environment) == (transfer == "ipc")  # handles are pickled


def test_the_context_is_the_shorter_of_the_models_and_the_one_asked_for(start):
    own = start().context
    assert start(max_model_len=own - 1).context == own - 1
    assert start(max_model_len=own + 1).context == own


def test_weights_are_pushed_named_and_what_was_read_with_others_is_forgotten(start):
    assert start()._llm.calls == [("push_tensors", True), ("version", "5"), ("reset", None)]


def test_samples_come_back_by_prompt(start):
    prompts = [torch.tensor([3, 4]), torch.tensor([6])]
    engine = start()
    groups = engine._generate(prompts, 3, Sampling(temperature=1.0, max_tokens=4, seed=0))
    assert [[one.tokens.tolist() for one in group] for group in groups] == [
        [[4, 0], [4, 1], [4, 2]],
        [[6, 0], [6, 1], [6, 2]],
    ]
    assert [[one.finished for one in group] for group in groups] == [[True, False, False]] * 2
    assert groups[0][0].logprobs.tolist() == [-1.0, -2.0]
    assert engine._llm.calls[-1] == ("generate", [3, 3])


def test_a_greedy_response_is_asked_for_once_and_given_to_all(start):
    engine = start()
    groups = engine._generate([torch.tensor([3])], 3, Sampling(temperature=0.0, max_tokens=4, seed=0))
    assert [one.tokens.tolist() for one in groups[0]] == [[3, 0]] * 3
    assert engine._llm.calls[-1] == ("generate", [1])
    assert engine._generate([], 3, Sampling(temperature=1.0, max_tokens=4, seed=0)) == []


def test_a_greedy_response_and_samples_of_a_prompt_are_asked_for_together(start):
    engine, prompts = start(), [torch.tensor([3]), torch.tensor([6])]
    groups = engine._generate(prompts, 3, Sampling(temperature=1.5, max_tokens=4, seed=0, greedy_first=True))
    assert [[one.tokens.tolist() for one in group] for group in groups] == [
        [[3, 0], [3, 0], [3, 1]],
        [[6, 0], [6, 0], [6, 1]],
    ]
    assert engine._llm.calls[-1] == ("generate", [1, 2, 1, 2])
    alone = engine._generate(prompts, 1, Sampling(temperature=1.5, max_tokens=4, seed=0, greedy_first=True))
    assert [len(group) for group in alone] == [1, 1]
    assert engine._llm.calls[-1] == ("generate", [1, 1])


PROMPTS, SAMPLING = [torch.tensor([3, 4])], Sampling(temperature=1.0, max_tokens=4, seed=0)
PUSHED = [("wake_up", ["weights"]), ("push_tensors", True), ("version", "7"), ("reset", None)]


@pytest.fixture
def asleep(start, monkeypatch):
    """An engine as after a rollout on a GPU, and the list of what it is called for, caches that are emptied included."""
    monkeypatch.setattr(VllmEngine, "_can_sleep", True)
    engine = start(sleep=True)
    engine.push(7)
    engine._version = None
    calls = engine._llm.calls
    del calls[:]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append(("empty", None)))
    return engine, calls


def without_emptying(calls):
    return [call for call in calls if call[0] != "empty"]


def test_an_engine_that_sleeps_wakes_for_each_rollout_and_is_given_weights_anew(asleep):
    engine, calls = asleep
    drawn = [("wake_up", ["kv_cache"]), ("generate", [2]), ("sleep", 2)]
    engine.generate(PROMPTS, 2, SAMPLING)
    engine.generate(PROMPTS, 2, SAMPLING)
    assert without_emptying(calls) == [*PUSHED, *drawn] * 2


def test_it_wakes_and_sleeps_once_a_session_however_many_turns_there_are(asleep):
    engine, calls = asleep
    with engine.session():
        for _ in range(3):
            engine.generate(PROMPTS, 1, SAMPLING)
        engine.generate([], 1, SAMPLING)
    turns = [("generate", [1])] * 3
    assert without_emptying(calls) == [*PUSHED, ("wake_up", ["kv_cache"]), *turns, ("sleep", 2)]
    assert engine._version is None


def test_a_rank_without_a_turn_wakes_and_sleeps_as_the_others_do(asleep):
    engine, calls = asleep
    with engine.session():
        assert engine.generate([], 1, SAMPLING) == []
    assert without_emptying(calls) == [*PUSHED, ("wake_up", ["kv_cache"]), ("sleep", 2)]


def test_torchs_cache_is_empty_before_vllm_takes_memory_and_after_it_gives_it_back(asleep):
    engine, calls = asleep
    engine.generate(PROMPTS, 2, SAMPLING)
    names = [name for name, _ in calls]
    assert names == [
        "empty", "wake_up", "push_tensors", "version", "reset", "empty", "wake_up", "generate", "sleep", "empty",
    ]  # fmt: skip


def test_a_session_that_fails_leaves_the_engine_to_be_used_again(asleep, monkeypatch):
    engine, calls = asleep
    with pytest.raises(OSError, match="gone"), engine.session():
        raise OSError("gone")
    engine._version = None
    engine.generate(PROMPTS, 1, SAMPLING)
    assert calls[-2:] == [("sleep", 2), ("empty", None)]
