"""A process of this machine that has ended is known as gone, and no other is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from orchestrator.execution import identity
from orchestrator.execution.identity import is_gone, own_identity

SAY = "from orchestrator.execution.identity import own_identity; print(own_identity(), flush=True); input()"


@pytest.fixture
def process():
    """A process that says what it is called and waits to be told to end."""
    running = subprocess.Popen(
        [sys.executable, "-c", SAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield running
    running.kill()
    running.communicate()


def test_a_process_that_lives_is_not_gone_and_one_that_was_killed_is(process):
    name = process.stdout.readline().strip()
    assert name != own_identity()
    assert not is_gone(name)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and its parent has not asked
    assert is_gone(name)
    process.wait()
    assert is_gone(name)


def test_another_process_of_the_same_number_is_another():
    machine, pid, began = own_identity().split(" ")
    assert is_gone(f"{machine} {pid} {int(began) - 1}")
    assert not is_gone(f"{machine} {pid} {began}")


def test_nothing_is_known_of_other_machines(monkeypatch, tmp_path):
    own = own_identity()
    _, pid, _ = own.split(" ")
    assert not is_gone(f"elsewhere {pid} 0")
    assert not is_gone("")
    monkeypatch.setattr(identity, "PROC", tmp_path)  # no Linux
    assert own_identity() == ""
    assert not is_gone(own)


def test_a_process_of_another_user_is_not_held_for_gone(monkeypatch):
    def refuses(pid, number):
        raise PermissionError

    machine, pid, _ = own_identity().split(" ")
    monkeypatch.setattr(os, "kill", refuses)
    assert not is_gone(f"{machine} {pid} 0")
