"""What a GPU changes where the configuration leaves it open; a CPU keeps what it had."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from orchestrator.configuration.learner import LearnerConfig
from orchestrator.training import start
from orchestrator.training.device import check_attention, check_device, described, device_of, precision_of
from orchestrator.training.learner import Learner
from orchestrator.training.ranks import Ranks


def settings(**changes):
    return LearnerConfig(iterations=1, **changes)


@pytest.fixture
def cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla V100")


@pytest.fixture
def without_bf16(cuda, monkeypatch):
    """A GPU that only emulates bfloat16."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)


def test_a_cpu_trains_in_32_bits_as_it_did():
    assert precision_of(settings()) == "32-true"
    assert device_of(settings()) == torch.device("cpu")
    assert described(settings()) == "trains in 32-true on the CPU"


def test_a_gpu_trains_in_bf16_mixed_unless_it_is_told(cuda):
    assert precision_of(settings()) == "bf16-mixed"
    assert precision_of(settings(precision="32-true")) == "32-true"
    assert precision_of(settings(accelerator="cpu")) == "32-true"
    assert described(settings()) == (
        "trains in bf16-mixed on cuda:0, AdamW in one kernel; products of float32 matrices are exact (TF32 is off)"
    )


def test_a_kernel_of_a_gpu_needs_one_and_bfloat16(cuda):
    check_attention("varlen", settings())
    check_attention("sdpa", settings(accelerator="cpu"))
    for changes in ({"accelerator": "cpu"}, {"precision": "32-true"}):
        with pytest.raises(
            ValueError, match=r"policy\.attention: 'varlen' .* this run trains in 32-true .* 'auto'"
        ):
            check_attention("varlen", settings(**changes))
    check_attention("flex", settings(precision="32-true"))
    with pytest.raises(
        ValueError, match=r"policy\.attention: 'flex' has .* this run trains in 32-true on the CPU"
    ):
        check_attention("flex", settings(accelerator="cpu"))


def test_each_rank_of_a_machine_has_a_gpu_of_its_own(cuda, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device_of(settings()) == torch.device("cuda", 3)
    assert device_of(settings(accelerator="cpu")) == torch.device("cpu")


def test_the_first_entropy_is_measured_on_the_device_of_the_rank(cuda, monkeypatch):
    moved = []
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: moved.append(("current", device)))
    policy = SimpleNamespace(model=SimpleNamespace(to=lambda device: moved.append(("model", device))))
    with pytest.raises(AttributeError, match="task_at"):  # enough of a configuration to come that far
        start._first_entropy(policy, SimpleNamespace(learner=settings()), 0, 1.0, None, Ranks())
    assert moved == [("current", torch.device("cuda", 2)), ("model", torch.device("cuda", 2))]


@pytest.mark.parametrize(("device", "fused"), [("cpu", True), ("cuda", True), ("meta", None)])
def test_adamw_is_fused_where_it_can_be(device, fused):
    with FakeTensorMode():
        model = torch.nn.ParameterList([torch.empty(2, device=device)])
    learner = SimpleNamespace(model=model, settings=settings())
    assert Learner.configure_optimizers(learner).defaults["fused"] is fused


def test_a_gpu_without_bf16_trains_in_32_bits_and_refuses_what_is_asked_of_it(without_bf16):
    assert precision_of(settings()) == "32-true"
    check_device(settings())
    check_device(settings(precision="bf16-mixed", accelerator="cpu"))
    with pytest.raises(
        ValueError, match=r"learner\.precision: 'bf16-mixed', and a Tesla V100 does not.*'32-true'"
    ):
        check_device(settings(precision="bf16-mixed"))


def test_a_run_of_more_ranks_than_gpus_is_refused_with_the_cure(cuda, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    check_device(settings(devices=2))
    with pytest.raises(
        ValueError, match=r"learner\.devices: 3 processes .* sees 2 \(CUDA_VISIBLE_DEVICES is 4,5\)"
    ):
        check_device(settings(devices=3))
    check_device(settings(devices=3, accelerator="cpu"))


def test_a_gpu_that_is_asked_for_and_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    check_device(settings())
    with pytest.raises(
        ValueError, match=r"learner\.accelerator: 'gpu', and torch finds none; set it to 'auto'"
    ):
        check_device(settings(accelerator="gpu"))
