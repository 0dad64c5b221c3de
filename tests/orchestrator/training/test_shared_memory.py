"""A run that is killed leaves no shared memory behind, which would stay until the machine starts again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing import shared_memory
from pathlib import Path

import pytest

from orchestrator.campaign import prepare
from orchestrator.configuration.resolve import read_campaign

SHARED = re.compile(r"/dev/shm/[^\s]+")


def held_by(session: int) -> tuple[set[int], set[str]]:
    """The processes of a session, and the files of shared memory that they hold."""
    processes, files = set(), set()
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getsid(int(place.name)) == session:
                processes.add(int(place.name))
                files |= set(SHARED.findall((place / "maps").read_text()))
    return processes, files


def test_shared_memory_is_found_where_there_is_some():
    block = shared_memory.SharedMemory(create=True, size=1000)
    try:
        assert f"/dev/shm/{block.name}" in held_by(os.getsid(0))[1]
    finally:
        block.close()
        block.unlink()


@pytest.mark.trains
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("devices", [1, 2])
def test_a_killed_run_leaves_none(write_campaign, tmp_path, devices):
    settings = {"learner.devices": devices, "learner.iterations": 500}
    folder = prepare(read_campaign(write_campaign(settings))).run("held", 0)
    with (tmp_path / "output.txt").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "orchestrator.training.worker", str(folder.path)],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    seen: set[str] = set()
    processes: set[int] = set()
    while not folder.checkpoint_path.exists():
        assert process.poll() is None, (tmp_path / "output.txt").read_text()
        processes, files = held_by(process.pid)
        seen |= files
        time.sleep(0.2)
    assert len(processes) > devices  # graders too
    process.send_signal(signal.SIGKILL)
    process.wait()
    while held_by(process.pid)[0]:  # the others notice that it is gone
        time.sleep(0.1)
    assert not [name for name in seen if Path(name).exists()]
