"""What is said of a file that cannot be written is about that file."""

import errno
import os
import re

import pytest

from orchestrator.errors import ConfigError
from orchestrator.storage.files import replace_file
from orchestrator.storage.outputs import naming_output


def test_a_full_disk_is_not_told_as_to_a_run(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "table.csv"
    said = re.escape(f"--output {path}: cannot be written (the disk is full); name a file elsewhere")
    with pytest.raises(ConfigError, match=f"^{said}$"), naming_output(path, "--output"):
        replace_file(path, b"arm,mean")
