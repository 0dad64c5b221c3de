"""What is said of a campaign's machines: too few GPUs, what a GPU changes, and saves that come too late for SLURM."""

from __future__ import annotations

import pytest
import torch

from orchestrator.configuration.device_notices import device_notices
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError
from orchestrator.execution.devices import VISIBLE


@pytest.fixture
def said(write_campaign, monkeypatch):
    """`said(4, {"execution.workers": 8})`: on a machine with so many GPUs, of the small campaign with changes."""

    def say(num_gpus, changes=None):
        monkeypatch.delenv(VISIBLE, raising=False)
        monkeypatch.setattr("orchestrator.execution.devices.torch_is_cpu_build", lambda: False)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
        path = write_campaign(
            {"learner.accelerator": "auto", "learner.precision": "bf16-mixed"} | (changes or {})
        )
        return device_notices(read_campaign(path))

    return say


def test_runs_that_share_gpus_are_told_once(said):
    (notice,) = said(4, {"execution.workers": 8})
    assert notice == (
        "execution.workers: 8 runs at the same time, on 1 GPU each, share the 4 that there are, their memory and their "
        "time; at most 4 would have their own"
    )
    (notice,) = said(4, {"execution.workers": 3, "learner.devices": 2})
    assert "on 2 GPUs each, share the 4" in notice
    assert "at most 2 would" in notice


@pytest.mark.parametrize(
    ("num_gpus", "changes"),
    [
        (8, {"execution.workers": 8}),
        (0, {"execution.workers": 8}),
        (4, {"execution.workers": 8, "learner.accelerator": "cpu"}),
        (4, {"execution.workers": 8, "execution.executor": {"kind": "ray"}}),
    ],
)
def test_nothing_is_said_where_there_is_nothing_to_share(said, num_gpus, changes):
    assert said(num_gpus, changes) == []


@pytest.mark.parametrize(
    ("precision", "start"),
    [
        ("auto", "bf16-mixed, since there is a GPU; 32-true is exact, with TF32 off"),
        ("32-true", "32-true mult"),
    ],
)
def test_the_arithmetic_on_a_gpu_is_said(said, precision, start):
    (notice,) = said(1, {"learner.precision": precision})
    assert notice.startswith(f"learner.precision: {start}")
    assert said(0, {"learner.precision": precision}) == []


def test_vllm_is_recommended_for_a_pretrained_policy_on_a_gpu(said):
    pretrained = {"policy.source": "Qwen/Qwen2.5-1.5B"}
    (notice,) = said(1, pretrained)
    assert "vLLM is several times faster: pip install 'entrostat[vllm]'" in notice
    assert said(1, {**pretrained, "rollout.engine": "vllm"}) == []
    assert said(0, {**pretrained, "rollout.engine": "transformers"}) == []


@pytest.mark.parametrize(("minutes", "num_notices"), [(None, 1), (60, 1), (59, 0)])
def test_a_save_comes_before_the_end_of_a_job(said, minutes, num_notices):
    slurm = {"execution.executor": {"kind": "slurm", "time_minutes": 60}}
    notices = said(0, {**slurm, "learner.checkpoint_minutes": minutes})
    assert len(notices) == num_notices
    assert all("is not below the 60 minutes of a SLURM job" in notice for notice in notices)


def test_a_run_that_may_roll_back_is_saved_by_iterations_alone_and_that_is_said(said):
    changes = {
        "execution.executor": {"kind": "slurm", "time_minutes": 60},
        "guardrails": {"collapse": {"action": "rollback"}},
    }
    (notice,) = said(0, changes)
    assert "neither the clock nor a signal" in notice


def test_weights_in_bfloat16_are_refused_with_the_reason(write_campaign):
    with pytest.raises(ConfigError) as refused:
        read_campaign(write_campaign({"learner.precision": "bf16-true"}))
    assert "1.9 % of the weights move in 50 steps" in str(refused.value)
    assert "take 'bf16-mixed', which computes in bfloat16 and keeps 32-bit weights" in str(refused.value)
