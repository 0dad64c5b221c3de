"""The first rank goes through every gathering of a policy, once, also where it cannot write."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from orchestrator.training.best_policy import keep
from orchestrator.training.ranks import Ranks

CONFIG = SimpleNamespace(policy=SimpleNamespace(lora=None))


class Policy:
    """A policy that notes how it is saved: to be written, or to be gathered with the others alone."""

    def __init__(self, fault=None):
        self.fault, self.writes = fault, []

    def save(self, folder, *, merge, write):
        self.writes.append(write)
        if self.fault is not None:
            raise self.fault
        if write:
            (folder / "weights").write_text("mine")


def test_where_there_can_be_no_folder_the_policy_is_gathered_and_not_written(tmp_path):
    (tmp_path / "file").touch()
    policy = Policy()
    with pytest.raises(OSError, match="file"):
        keep(policy, tmp_path / "file" / "best", CONFIG, Ranks())
    assert policy.writes == [False]


def test_where_writing_fails_the_policy_is_gathered_once(tmp_path):
    policy = Policy(OSError("no room"))
    with pytest.raises(OSError, match="no room"):
        keep(policy, tmp_path / "best", CONFIG, Ranks())
    assert policy.writes == [True]
    assert not any(tmp_path.iterdir())


def test_what_belongs_beside_the_weights_is_there_with_them(tmp_path):
    policy = Policy()
    keep(policy, tmp_path / "best", CONFIG, Ranks(), lambda folder: (folder / "note").touch())
    assert policy.writes == [True]
    assert {path.name for path in (tmp_path / "best").iterdir()} == {"weights", "note"}
