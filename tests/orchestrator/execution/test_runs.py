"""Runs that are stopped in steps, beside which other things are done."""

from __future__ import annotations

from orchestrator.execution.base import Ending, Job
from orchestrator.execution.runs import Worker, stopping
from orchestrator.storage.run_folder import RunFolder, Status


class Slow(Job):
    """A run that saves for three looks after it was asked."""

    def __init__(self, folder):
        self._folder, self.left = folder, 3

    def ended(self):
        self.left -= 1
        return None if self.left >= 0 else Ending(how="the process exited with status 143")

    def ask(self):
        self._folder.write_status(Status(status="running"))

    def kill(self):
        raise AssertionError


def test_a_run_that_saves_leaves_time_for_other_things(tmp_path):
    folder = RunFolder(tmp_path)
    steps = stopping([Worker(folder, Slow(folder))])
    assert [folder.read_status().status for _ in steps] == ["running"] * 3
    assert folder.read_status().status == "interrupted"
