"""Stage two from the command's side: what it says while its workers work."""

from __future__ import annotations

import io
from contextlib import nullcontext

import optuna
from optuna.exceptions import StorageInternalError
from rich.console import Console

from orchestrator.execution.identity import own_identity
from orchestrator.storage.run_folder import CampaignFolder, RunFolder, Status
from orchestrator.tuning.training import Training
from orchestrator.tuning.trial_notes import PROCESS
from tests.orchestrator.tuning.conftest import GONE


class Silent(nullcontext):
    """A progress that shows nothing."""

    def show(self, folders, total):
        pass


class Shown(nullcontext):
    """A progress that remembers the runs that it showed last."""

    total = ""

    def show(self, folders, total):
        self.runs, self.total = list(folders), total


def test_trials_that_other_machines_may_have_left_are_announced(make_study):
    study, told = make_study(), io.StringIO()
    found = optuna.create_study()
    training = Training(study, found, Console(file=told, width=200), Silent())
    training._announce_others()
    found.ask().set_user_attr(PROCESS, GONE)  # it goes on at once
    training._announce_others()
    assert told.getvalue() == ""
    found.ask()
    training._announce_others()
    found.ask()
    training._announce_others()
    assert told.getvalue().splitlines() == [
        f"{count} in other workers; a trial without a heartbeat for 5 s goes on here"
        for count in ("1 trial runs", "2 trials run")
    ]


def test_a_storage_that_does_not_answer_stops_nothing_and_is_for_the_workers_to_tell(make_study, monkeypatch):
    told, shown, found = io.StringIO(), Shown(), optuna.create_study()
    training = Training(make_study(), found, Console(file=told, width=200), shown)
    real = found.get_trials

    def fails(**_):
        raise StorageInternalError("study.db: gone")

    monkeypatch.setattr(found, "get_trials", fails)
    training.look(now=True)
    assert (told.getvalue(), shown.total) == ("", "")
    monkeypatch.setattr(found, "get_trials", real)
    training.look()  # too soon
    assert shown.total == ""
    training.look(now=True)
    assert shown.total == "0/4 trials begun"


def test_only_runs_of_trials_that_are_at_work_are_shown_and_no_others_are_read(make_study, monkeypatch):
    study, shown = make_study(), Shown()
    folder = CampaignFolder(study.folder)
    found = optuna.create_study()
    training = Training(study, found, Console(file=io.StringIO()), shown)
    ended, left, working = found.ask(), found.ask(), found.ask()
    found.tell(ended, 1.0)
    left.set_user_attr(PROCESS, GONE)
    working.set_user_attr(PROCESS, own_identity())
    for number in range(3):  # each seems to train its second seed, as a worker that is killed leaves it
        for seed, status in ((0, "done"), (1, "running")):
            folder.run(f"trial-{number:04d}", seed).write_status(Status(status=status))
    read, real = [], RunFolder.read_status
    monkeypatch.setattr(RunFolder, "read_status", lambda run: read.append(run) or real(run))
    training.look()
    assert shown.runs == [folder.run("trial-0002", 1)]
    assert shown.total == "3/4 trials begun"
    assert read == [folder.run("trial-0002", seed) for seed in (0, 1)]
