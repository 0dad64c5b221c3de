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
from orchestrator.storage.run_folder import CampaignFolder
from orchestrator.tuning.attempts import PROCESS
from orchestrator.tuning.training import Training
from tests.orchestrator.tuning.conftest import GONE


class Silent(nullcontext):
    """A progress that shows nothing."""

    def show(self, folders, total):
        pass


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
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    study = make_study(workers=2)
    config = study.arm.config
    learner = config.learner.model_copy(update=learner)
    arm = replace(study.arm, config=config.model_copy(update={"learner": learner}))
    training = Training(
        replace(study, arm=arm), None, CampaignFolder(study.folder), "", (), Console(), Silent()
    )
    assert [training._gpus(index).get(VISIBLE) for index in range(2)] == gpus
