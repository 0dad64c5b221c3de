"""What is said of a file that cannot be written is about that file."""

import errno
import os
import re
from pathlib import Path

import pytest

from orchestrator.errors import ConfigError
from orchestrator.storage.files import replace_file
from orchestrator.storage.outputs import naming_output, require_name, require_writable


def test_a_full_disk_is_not_told_as_to_a_run(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "table.csv"
    said = re.escape(f"--output {path}: cannot be written (the disk is full); name a file elsewhere")
    with pytest.raises(ConfigError, match=f"^{said}$"), naming_output(path, "--output"):
        replace_file(path, b"arm,mean")


def test_a_file_can_be_put_where_one_is_or_none_and_nothing_stays_behind(tmp_path):
    there = tmp_path / "there.csv"
    there.write_text("kept")
    require_writable(there, "--output")
    require_writable(tmp_path / "new.csv", "--output")
    assert [path.name for path in tmp_path.iterdir()] == ["there.csv"]
    assert there.read_text() == "kept"


def test_what_is_no_file_is_refused_before_the_work(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, said in [
        (tmp_path, "is a folder; name a file"),
        (tmp_path / "pipe", "is no file; name a file"),
        (tmp_path / "none" / "table.csv", f"there is no folder {tmp_path / 'none'}; make it first"),
        (tmp_path / ("x" * 300), "cannot be written"),
    ]:
        with pytest.raises(ConfigError, match=f"^--output {re.escape(str(path)[:40])}.*") as refused:
            require_writable(path, "--output")
        assert said in str(refused.value)


@pytest.mark.parametrize("path", ["/", "", "a\0b"])
def test_what_names_no_file_is_refused(path):
    with pytest.raises(ConfigError, match="names no file; name one"):
        require_name(Path(path), "--output")
