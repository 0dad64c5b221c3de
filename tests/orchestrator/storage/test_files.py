"""Whatever is stored is there whole, old or new, however a write ends; and what a kill leaves goes away."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from orchestrator.storage.files import (
    UNFINISHED,
    beside,
    clear_unfinished,
    read_json,
    replace_file,
    replacing_folder,
    write_json,
)
from orchestrator.storage.guardrail_files import (
    Event,
    Rollback,
    append_event,
    read_events,
    read_rollbacks,
    write_rollbacks,
)
from orchestrator.storage.sealed import read_sealed, write_sealed
from orchestrator.storage.stored_columns import store_columns, stored_columns

ROOT = Path(__file__).parents[3]
KILLED = """
import os, signal, sys
from pathlib import Path
from orchestrator.storage.files import replacing

with replacing(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_in_a_write(path):
    subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, check=False)


def test_a_file_is_brought_to_the_disk_before_it_has_its_name_and_its_folder_after(tmp_path, monkeypatch):
    path, seen = tmp_path / "f", []

    def sync(descriptor, real=os.fsync):
        what = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        seen.append((what, path.read_bytes() if path.exists() else None))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    replace_file(path, b"new")
    assert seen == [("file", None), ("folder", b"new")]
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask()


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_what_a_killed_write_left_goes_with_the_next_one(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"old")
    kill_in_a_write(path)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    replace_file(path, b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["f"]
    assert path.read_bytes() == b"new"


def test_what_is_being_written_is_no_leftover(tmp_path):
    kill_in_a_write(tmp_path / "other")
    with beside(tmp_path / "f") as (_, temporary):
        clear_unfinished(tmp_path)
        assert list(tmp_path.iterdir()) == [temporary]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a*b", "[x]", "a?"])
def test_a_name_is_taken_as_it_is(tmp_path, name):
    kill_in_a_write(tmp_path / "axb")
    replace_file(tmp_path / name, b"1")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"the disk is full.*/f'"):
        replace_file(path, b"new")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("f", b"old")]


def test_a_folder_takes_the_place_of_another_as_a_whole(tmp_path):
    path = tmp_path / "policy"
    with replacing_folder(path) as folder:
        (folder / "a").write_text("1")
    with suppress(KeyboardInterrupt), replacing_folder(path) as folder:
        (folder / "b").write_text("2")
        raise KeyboardInterrupt
    assert [each.name for each in path.iterdir()] == ["a"]
    (tmp_path / f"policy{UNFINISHED}").mkdir()
    with replacing_folder(path) as folder:
        (folder / "b").write_text("2")
    assert [each.name for each in path.iterdir()] == ["b"]
    assert [each.name for each in tmp_path.iterdir()] == ["policy"]


def test_a_changed_digit_in_what_decides_how_a_run_goes_on_is_found(tmp_path):
    path = tmp_path / "confirmed.json"
    write_sealed(path, {"iteration": 12})
    assert read_sealed(path) == {"iteration": 12}
    path.write_text(path.read_text().replace("12", "13"))
    with pytest.raises(ValueError, match=r"confirmed\.json: is not what was written"):
        read_sealed(path)
    write_json(path, {"iteration": 12})  # of an earlier version
    assert read_sealed(path) == {"iteration": 12}


def test_a_changed_limit_of_a_rollback_is_found(tmp_path):
    path = tmp_path / "rollbacks.json"
    rollbacks = [
        Rollback(iteration=i, to=2, detector="collapse", reason="r", limits={"a": [0.0, 0.5]})
        for i in (4, 6, 8)
    ]
    write_rollbacks(path, rollbacks)
    assert read_rollbacks(path) == rollbacks
    whole = path.read_text()
    stored = read_json(path)
    for harmed in (stored[1:], [stored[0], stored[2]], [*stored, stored[2]]):
        write_json(path, harmed)
        with pytest.raises(ValueError, match=r"rollbacks\.json: is not what was written"):
            read_rollbacks(path)
    path.write_text(whole.replace("0.5", "0.7", 1))
    with pytest.raises(ValueError, match=r"rollbacks\.json: is not what was written"):
        read_rollbacks(path)
    for content in ("{}", "[1]", '[{"iteration": 1}]', "null"):
        path.write_text(content)
        with pytest.raises(ValueError, match=r"rollbacks\.json: not the rollbacks of a run"):
            read_rollbacks(path)


def test_a_line_of_events_that_is_gone_changed_or_twice_is_found(tmp_path):
    path = tmp_path / "guardrails.jsonl"
    for iteration in (3, 5, 7):
        append_event(path, Event(iteration=iteration, detector="collapse", reason="r"))
    lines = path.read_text().splitlines(keepends=True)
    events = read_events(path)
    assert [event.iteration for event in events] == [3, 5, 7]
    changed = lines[1].replace('"iteration": 5', '"iteration": 6')
    for harmed in ([lines[0], lines[2]], [*lines[:2], lines[1], lines[2]], [lines[0], changed, lines[2]]):
        path.write_text("".join(harmed))
        with pytest.raises(ValueError, match=r"guardrails\.jsonl: line \d is not the one that was written"):
            read_events(path)


def test_no_flipped_bit_of_stored_columns_gives_another_number(tmp_path):
    from orchestrator.storage.metrics_log import MetricsWriter

    log = tmp_path / "metrics.jsonl"
    with MetricsWriter(log) as writer:
        for step in range(40):
            writer.append(step, {"entropy": 0.1 + step, "reward": 1 / (step + 1)})
    store_columns(log)
    path = log.with_suffix(".npz")
    whole, good = path.read_bytes(), stored_columns(log)
    for position in range(0, len(whole), 11):
        for bit in (0, 6):
            content = bytearray(whole)
            content[position] ^= 1 << bit
            path.write_bytes(bytes(content))
            found = stored_columns(log)
            if found is not None:
                assert found.train.steps.tolist() == good.train.steps.tolist()
                assert {name: values.tolist() for name, values in found.train.values.items()} == {
                    name: values.tolist() for name, values in good.train.values.items()
                }
