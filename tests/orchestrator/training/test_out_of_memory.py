"""A device that is full: one message with what took the memory, and a run that continues with less."""

from __future__ import annotations

from types import SimpleNamespace
from typing import get_args

import pytest
import torch

from orchestrator.campaign import prepare
from orchestrator.configuration.fingerprint import EXECUTION_ONLY
from orchestrator.configuration.resolve import read_campaign
from orchestrator.training import run as worker
from orchestrator.training.out_of_memory import CONTINUES_WITH, explained
from orchestrator.training.phase_meter import Phase
from orchestrator.training.update import Updater
from policies.rollouts.settings import Vllm
from policies.rollouts.transformers_engine import TransformersEngine
from tests.policies.model.test_memory import model as tiny_model

pytestmark = pytest.mark.trains

SHORT = {"learner.iterations": 3, "evaluation.every": 3, "learner.checkpoint_every": 1}
FULL = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB"


@pytest.fixture
def campaign(write_campaign):
    torch.set_num_threads(1)
    return lambda **changes: read_campaign(write_campaign(SHORT | changes))


def fills_at(number, function):
    """The function, but that its call of that number, from 0, finds the device full."""
    calls = iter(range(10**6))

    def full(*arguments, **settings):
        if next(calls) == number:
            raise torch.OutOfMemoryError(FULL)
        return function(*arguments, **settings)

    return full


def test_the_message_names_part_and_cure_and_the_run_continues(campaign, monkeypatch):
    run = prepare(campaign()).run("grpo", 0)
    with monkeypatch.context() as patch:
        patch.setattr(Updater, "accumulate", fills_at(1, Updater.accumulate))
        assert worker.main(str(run.path)) == worker.EXIT_FAILED
    reason = run.read_status().reason
    assert reason.startswith(
        "DeviceFullError: the device ran out of memory while the run updated the policy (CUDA out of memory. Tried to "
        "allocate 2.00 GiB); by the estimate most of it is for "
    )
    assert (
        "the same command continues the run from its last checkpoint, with another micro_batch_size" in reason
    )
    # The settings that the message names are those that a stored run takes.
    assert not set(CONTINUES_WITH) - {*EXECUTION_ONLY, *Vllm.execution_only}
    smaller = prepare(campaign(**{"learner.micro_batch_size": 2})).run("grpo", 0)
    assert worker.main(str(smaller.path)) == worker.EXIT_DONE, smaller.read_status().reason
    assert [record.step for record in run.records() if record.kind == "train"] == [0, 1, 2]


def test_an_engine_that_fills_the_device_is_told_by_what_it_takes(campaign, monkeypatch):
    run = prepare(campaign(**{"evaluation.every": 3})).run("grpo", 0)
    # The evaluation at the start makes the two calls before it.
    monkeypatch.setattr(TransformersEngine, "generate", fills_at(2, TransformersEngine.generate))
    assert worker.main(str(run.path)) == worker.EXIT_FAILED
    assert "while the run sampled" in run.read_status().reason


@pytest.mark.parametrize("phase", get_args(Phase))
def test_every_phase_of_an_iteration_has_a_sentence(campaign, phase):
    config = campaign(**{"rollout.ahead": 1}).arms[0].config
    policy = SimpleNamespace(model=tiny_model())
    error = explained(torch.OutOfMemoryError(FULL), config, policy, phase)
    assert str(error).startswith("the device ran out of memory while the run ")
