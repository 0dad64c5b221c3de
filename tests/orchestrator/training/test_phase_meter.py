"""Phases of an iteration are measured: seconds anywhere, memory and the share of a peak on a GPU, here a stand-in."""

from __future__ import annotations

import pytest
import torch

from orchestrator.training.phase_meter import PhaseMeter
from policies.model.flops import peak_flops, training_flops
from policies.model.memory import GIB, shape_of
from policies.statistics.sequences import pack
from tests.policies.model.test_memory import model

ALL = torch.ones(2, dtype=torch.bool)
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def gpu(monkeypatch):
    """What torch is asked about a GPU, in order; its memory is 3 GiB at its peak."""
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: asked.append("reset"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: asked.append("wait"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * GIB)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    return asked


@pytest.fixture
def sequences():
    prompts = [torch.arange(4), torch.arange(5)]
    return pack(prompts, [torch.arange(6), torch.arange(3)], pad_id=0)


def test_a_cpu_has_seconds_alone(sequences, gpu):
    meter = PhaseMeter()
    with meter.phase("update", CPU):
        assert meter.now == "update"
    assert meter.now is None
    metrics = meter.metrics(model(), sequences, ALL, 1, 1)
    assert metrics == {"seconds/update": meter.seconds["update"]}
    assert gpu == []


def test_a_gpu_is_waited_for_and_counted(sequences, gpu):
    meter, policy = PhaseMeter(), model()
    with meter.phase("update", GPU):
        gpu.append("work")
    assert gpu == ["reset", "work", "wait"]
    meter.seconds |= {"update": 2.0, "iteration": 3.0}
    metrics = meter.metrics(policy, sequences, ALL, 2, 4)
    assert metrics["gpu/memory/update"] == 3.0
    assert metrics["gpu/tokens_per_second"] == pytest.approx((10 + 8) / 3.0 / 4)
    done = 2 * training_flops(shape_of(policy), torch.tensor([10, 8]), 9)
    assert metrics["gpu/mfu"] == pytest.approx(done / (2.0 * 4 * peak_flops("NVIDIA H200")))


def test_rows_that_an_update_is_not_given_are_no_operations_of_it(sequences, gpu):
    meter, policy = PhaseMeter(), model()
    with meter.phase("update", GPU):
        pass
    meter.seconds |= {"update": 2.0, "iteration": 3.0}
    metrics = meter.metrics(policy, sequences, torch.tensor([False, True]), 1, 1)
    done = training_flops(shape_of(policy), torch.tensor([8]), 3)  # 5 tokens of the prompt, 3 of the response
    assert metrics["gpu/mfu"] == pytest.approx(done / (2.0 * peak_flops("NVIDIA H200")))
    assert metrics["gpu/tokens_per_second"] == pytest.approx((10 + 8) / 3.0)  # the iteration sampled them all
    assert "gpu/mfu" not in meter.metrics(policy, sequences, ~ALL, 1, 1)


@pytest.mark.parametrize("unknown", ["device", "experts"])
def test_a_share_that_is_not_known_is_left_out(sequences, gpu, monkeypatch, unknown):
    meter, policy = PhaseMeter(), model()
    if unknown == "device":
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Quadro P400")
    else:
        policy.config.num_experts = 8
    with meter.phase("update", GPU):
        pass
    meter.seconds["iteration"] = 1.0
    metrics = meter.metrics(policy, sequences, ALL, 1, 1)
    assert "gpu/tokens_per_second" in metrics
    assert "gpu/mfu" not in metrics


def test_an_error_leaves_the_phase_that_it_happened_in():
    meter = PhaseMeter()
    with pytest.raises(ZeroDivisionError), meter.phase("measure", CPU):
        _ = 1 / 0
    assert meter.now == "measure"
