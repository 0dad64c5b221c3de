"""A slot owns a device: runs at the same time have GPUs of their own, as far as there are enough."""

from __future__ import annotations

import pytest
import torch

from orchestrator.campaign import prepare
from orchestrator.configuration.resolve import read_campaign
from orchestrator.execution import local
from orchestrator.execution.base import Ending
from orchestrator.execution.devices import VISIBLE, GpuDesk, share_of_slot, visible_gpus
from orchestrator.execution.local import Local


class Run:
    """In place of a process: notes its environment, and ends when told."""

    def __init__(self, folder, threads, *, environment):
        self.gpus = environment.get(VISIBLE)
        self.is_over = False

    def ended(self):
        return Ending(how="it is done") if self.is_over else None


@pytest.fixture
def machine(monkeypatch):
    """`machine(8)`: this one has so many GPUs, and no setting says which to use."""

    def has(number):
        monkeypatch.delenv(VISIBLE, raising=False)
        monkeypatch.setattr("orchestrator.execution.devices.torch_is_cpu_build", lambda: False)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: number)

    return has


@pytest.fixture
def begin(write_campaign, monkeypatch, tmp_path):
    """`begin(**learner)`: the crew of this machine, and a folder of a run of such a learner."""
    monkeypatch.setattr(local, "RunProcess", Run)

    def make(**learner):
        changes = {"learner.accelerator": "auto"} | {
            f"learner.{key}": value for key, value in learner.items()
        }
        folder = prepare(read_campaign(write_campaign(changes))).run("grpo", 0)
        with Local().connect(tmp_path, 1) as crew:
            return lambda: crew.begin(folder)

    return make


def test_eight_runs_have_eight_gpus(machine, begin):
    machine(8)
    start = begin()
    assert [start().gpus for _ in range(8)] == list("01234567")


def test_a_gpu_that_a_run_gives_back_is_the_next_to_be_taken(machine, begin):
    machine(3)
    start = begin()
    runs = [start() for _ in range(3)]
    runs[1].is_over = True
    assert start().gpus == "1"


def test_runs_on_several_devices_have_as_many(machine, begin):
    machine(4)
    start = begin(devices=2)
    assert [start().gpus for _ in range(2)] == ["0,1", "2,3"]


def test_what_is_set_already_is_kept_to(machine, begin, monkeypatch):
    machine(2)  # as torch counts with that setting
    monkeypatch.setenv(VISIBLE, "5, GPU-1d2c")
    start = begin()
    assert [start().gpus for _ in range(3)] == ["5", "GPU-1d2c", "5"]


@pytest.mark.parametrize(("number", "learner"), [(0, {}), (8, {"accelerator": "cpu"}), (1, {"devices": 2})])
def test_nothing_is_set_where_there_is_nothing_to_choose(machine, begin, number, learner):
    machine(number)
    assert begin(**learner)().gpus is None


@pytest.mark.parametrize(
    ("named", "number", "gpus"),
    [
        ("", 0, ()),
        ("-1", 0, ()),
        ("2,-1,3", 1, ("2",)),
        ("3,1", 2, ("3", "1")),
        ("0", 0, ()),  # set on a machine without a GPU
        ("0,1,9", 2, ("0", "1")),  # there is no tenth
    ],
)
def test_devices_are_those_that_torch_counts(machine, monkeypatch, named, number, gpus):
    machine(number)
    monkeypatch.setenv(VISIBLE, named)
    assert visible_gpus() == gpus


@pytest.mark.parametrize(
    ("num_gpus", "num_slots", "least", "shares"),
    [
        (4, 2, 1, ["01", "23"]),
        (2, 3, 1, ["0", "1", "0"]),
        (4, 4, 2, ["01", "23", "01", "23"]),
        (1, 2, 2, ["", ""]),
    ],
)
def test_workers_of_a_study_share_the_gpus_out(num_gpus, num_slots, least, shares):
    gpus = [str(number) for number in range(num_gpus)]
    found = ["".join(share_of_slot(gpus, slot, num_slots, least)) for slot in range(num_slots)]
    assert found == shares


def test_a_cpu_build_of_torch_is_not_asked(monkeypatch):
    monkeypatch.setattr("orchestrator.execution.devices.version", {"torch": "2.13.0+cpu"}.get)
    monkeypatch.setattr(torch.cuda, "device_count", pytest.fail)
    assert visible_gpus() == ()


def test_gpus_are_shared_evenly_where_there_are_too_few(machine, monkeypatch):
    machine(2)
    monkeypatch.setenv(VISIBLE, "0,1")
    desk, chosen = GpuDesk(), []
    for _ in range(4):
        gpus = desk.choose(1)
        desk.lend(gpus, Run(None, 1, environment={}))
        chosen += gpus
    assert chosen == ["0", "1", "0", "1"]
