"""The folders that graders may write to are there, empty, and gone afterwards."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hostile_graders import PROBLEM, Intruder

from tasks.grading.pool import GradingPool
from tasks.grading.scratch import PREFIX, Scratch, empty, remove_left_over


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def scratch_of(pool):
    return Path(pool.grade([PROBLEM], ["scratch_name"]).first_error.rpartition(" ")[2])


def test_a_worker_that_is_killed_leaves_no_folder_and_the_next_has_another(temporary_folder):
    with GradingPool(Intruder(), timeout_seconds=600) as pool:
        first = scratch_of(pool)
        assert first.is_relative_to(temporary_folder)
        assert pool.grade([PROBLEM], ["scratch"]).scores == [1.0]
        assert first.exists()
        os.kill(pool._workers[0]._process.pid, signal.SIGKILL)
        pool._workers[0]._process.join()
        second = scratch_of(pool)
        assert second.exists()
        assert not first.exists()
    assert list(temporary_folder.iterdir()) == []


def test_a_pool_that_cannot_start_leaves_no_folder(temporary_folder):
    with pytest.raises(RuntimeError):
        GradingPool(Intruder(grading_needs=("internet",)))
    assert list(temporary_folder.iterdir()) == []


@pytest.mark.parametrize("meanwhile", ["removes", "holds"])
def test_a_folder_that_another_pool_takes_for_a_left_over_one_is_made_anew(
    temporary_folder, monkeypatch, meanwhile
):
    """The other pool comes between the making of the folder and its lock."""
    real, held = tempfile.mkdtemp, []

    def made(*arguments, **options):
        path = real(*arguments, **options)
        if not held:
            held.append(os.open(path, os.O_RDONLY))
            fcntl.flock(held[0], fcntl.LOCK_EX)
            if meanwhile == "removes":
                Path(path).rmdir()
        return path

    monkeypatch.setattr(tempfile, "mkdtemp", made)
    with closing(Scratch()) as scratch:
        assert scratch.path.is_dir()
        scratch.fresh()
    os.close(held[0])


@pytest.mark.parametrize("how", ["return", "raise", "kill"])
def test_the_folder_of_a_process_that_is_gone_is_removed_by_the_next_pool_at_the_latest(
    temporary_folder, how
):
    script = Path(__file__).parents[1] / "pool_in_a_script.py"
    with subprocess.Popen(
        [sys.executable, script, "hang" if how == "kill" else how],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        process.stdout.readline()
        if how == "kill":
            assert len(list(temporary_folder.glob(f"{PREFIX}*"))) == 1
            process.kill()
        process.wait(timeout=120)
    if how == "kill":
        with closing(Scratch()) as ours:
            assert list(temporary_folder.glob(f"{PREFIX}*")) == [ours.path]
    assert list(temporary_folder.glob(f"{PREFIX}*")) == []


def test_the_folder_of_a_process_that_lives_is_left_alone(temporary_folder):
    one, other = Scratch(), Scratch()
    kept = Path(one.fresh())
    (temporary_folder / "entrostat-other").mkdir()
    (temporary_folder / f"{PREFIX}file").write_text("no folder")
    (temporary_folder / f"{PREFIX}link").symlink_to(temporary_folder / "entrostat-other")
    remove_left_over()
    assert kept.exists()
    one.close()
    other.close()
    assert sorted(path.name for path in temporary_folder.iterdir()) == [
        f"{PREFIX}file",
        f"{PREFIX}link",
        "entrostat-other",
    ]


def test_emptying_removes_what_is_within_and_follows_no_link(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("kept")
    folder = tmp_path / "scratch"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "file").write_text("")
    (folder / "link").symlink_to(tmp_path / "kept")
    empty(str(folder))
    assert list(folder.iterdir()) == []
    assert (tmp_path / "kept" / "file").read_text() == "kept"


def test_a_system_without_a_place_for_it_is_told_what_to_set(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(RuntimeError, match=r"need a scratch folder, .*; set TMPDIR to a folder"):
        Scratch()
