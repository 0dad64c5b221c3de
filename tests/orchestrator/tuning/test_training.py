"""Stage two from the command's side: what it says while its workers work."""

from __future__ import annotations

import io
from contextlib import nullcontext
from dataclasses import replace

import optuna
import pytest
import torch
from optuna.exceptions import StorageInternalError
from rich.console import Console

from orchestrator.execution.devices import VISIBLE
from orchestrator.execution.identity import own_identity
from orchestrator.storage.run_folder import CampaignFolder, RunFolder, Status
from orchestrator.tuning.attempts import PROCESS
from orchestrator.tuning.training import Training
from tests.orchestrator.tuning.conftest import GONE


class Silent(nullcontext):
    """A progress that shows nothing."""

    def show(self, folders, total):
        pass


class Shown(nullcontext):
    """A progress that remembers the runs that it showed last."""

    def show(self, folders, total):
        self.runs, self.total = list(folders), total


class Fails:
    """Answers to the first look and to none of the next two."""

    looks = 0

    def print_new(self):
        self.looks += 1
        if self.looks in (2, 3, 5):
            raise StorageInternalError("study.log: gone")


def test_trials_that_other_machines_may_have_left_are_announced(make_study):
    study, told = make_study(), io.StringIO()
    training = Training(
        study, None, CampaignFolder(study.folder), "", (), Console(file=told, width=200), Silent()
    )
    found = optuna.create_study()
    training._announce_running(found)
    found.ask().set_user_attr(PROCESS, GONE)  # it goes on at once
    training._announce_running(found)
    assert told.getvalue() == ""
    found.ask()
    training._announce_running(found)
    found.ask()
    training._announce_running(found)
    assert told.getvalue().splitlines() == [
        f"{count} in other workers; a trial without a heartbeat for 5 s goes on here"
        for count in ("1 trial runs", "2 trials run")
    ]


def test_a_storage_that_does_not_answer_is_said_once_and_stops_nothing(make_study):
    study, told = make_study(), io.StringIO()
    console = Console(file=told, width=200)
    training = Training(study, None, CampaignFolder(study.folder), "", (), console, Silent())
    finished = Fails()
    for _ in range(5):
        training._look(finished, study, optuna.create_study())
    assert finished.looks == 5
    assert told.getvalue() == 2 * "storage: study.log: gone; the workers try again\n"


def test_only_runs_of_trials_that_are_at_work_are_shown_and_no_others_are_read(make_study, monkeypatch):
    study, shown = make_study(), Shown()
    folder = CampaignFolder(study.folder)
    training = Training(study, None, folder, "", (), Console(file=io.StringIO()), shown)
    found = optuna.create_study()
    ended, left, working = found.ask(), found.ask(), found.ask()
    found.tell(ended, 1.0)
    left.set_user_attr(PROCESS, GONE)
    working.set_user_attr(PROCESS, own_identity())
    for number in range(3):  # each seems to train its second seed, as a worker that is killed leaves it
        for seed, status in ((0, "done"), (1, "running")):
            folder.run(f"trial-{number:04d}", seed).write_status(Status(status=status))
    read, real = [], RunFolder.read_status
    monkeypatch.setattr(RunFolder, "read_status", lambda run: read.append(run) or real(run))
    training._look(Fails(), study, found)
    assert shown.runs == [folder.run("trial-0002", 1)]
    assert shown.total == "3/4 trials begun"
    assert read == [folder.run("trial-0002", seed) for seed in (0, 1)]


@pytest.mark.parametrize(
    ("learner", "gpus"),
    [
        ({"accelerator": "auto"}, ["0,1", "2,3"]),
        ({"accelerator": "auto", "devices": 4}, ["0,1,2,3", "0,1,2,3"]),
        ({"accelerator": "cpu"}, [None, None]),
    ],
)
def test_workers_have_gpus_of_their_own(make_study, monkeypatch, learner, gpus):
    monkeypatch.setenv(VISIBLE, "0,1,2,3")
    monkeypatch.setattr("orchestrator.execution.devices.torch_is_cpu_build", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    study = make_study(workers=2)
    config = study.arm.config
    learner = config.learner.model_copy(update=learner)
    arm = replace(study.arm, config=config.model_copy(update={"learner": learner}))
    training = Training(
        replace(study, arm=arm), None, CampaignFolder(study.folder), "", (), Console(), Silent()
    )
    assert [training._gpus(index).get(VISIBLE) for index in range(2)] == gpus
