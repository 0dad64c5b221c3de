"""Trackers beside MLflow see a run while it trains: a process of its own follows the run's folder for them.

They print, open connections and allow one run a process, so none of them is let into that of the campaign or of the
run.  Whatever goes wrong there costs nothing: `write_others` writes at the end what a tracker does not have.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import cast

from orchestrator.execution.credentials import VARIABLE
from orchestrator.storage.metrics_log import Record, Tail
from orchestrator.storage.run_folder import OVER, RunFolder
from orchestrator.tracking.others import WRITERS, OtherTracker, Write, has_all, note_all

PAUSE_SECONDS = 2.0
"""Between two looks at the records."""
PATIENCE_SECONDS = 30.0
"""How long the followers may take to finish once the campaign has ended."""
NICENESS = 10


class Followers:
    """Follows the runs of a campaign's folder ``home``, each from when it is first seen at work; they end with this."""

    def __init__(self, home: Path, names: Sequence[OtherTracker]) -> None:
        self._home = home
        self._names = names
        self._seen: set[Path] = set()  # a follower ends before its run only where it is broken
        self._processes: list[subprocess.Popen[bytes]] = []

    def __call__(self, working: Iterable[RunFolder]) -> None:
        self._forget_ended()
        for run in working if self._names else ():
            if run.path not in self._seen:
                self._seen.add(run.path)
                with suppress(OSError):  # no memory or process is left: the run is what they are for
                    self._processes.append(self._start(run))

    def _start(self, run: RunFolder) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", __name__, str(self._home), str(run.path), *self._names]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(  # nosec B603  # a list of our own, no shell
            command,
            stdin=subprocess.PIPE,
            stdout=quiet,
            stderr=quiet,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name != VARIABLE},
        )

    def _forget_ended(self) -> None:
        """A campaign of thousands of runs keeps no descriptor and no dead process of each."""
        for process in [each for each in self._processes if each.poll() is not None]:
            _close_stdin(process)
            self._processes.remove(process)

    def __enter__(self) -> Followers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            _close_stdin(process)  # which tells it to finish
        deadline = time.monotonic() + PATIENCE_SECONDS
        for process in self._processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _close_stdin(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()


def follow(home: Path, run: RunFolder, names: Sequence[OtherTracker], stop: threading.Event) -> None:
    """Give the trackers what a run records until it has ended, or until told to stop and once more then.

    A record that a guardrail may yet take back waits.  A run that has gone back to a checkpoint all the same is
    given to each tracker from its start.
    """
    feeds = [Feed(home, run, name) for name in names]
    with ExitStack() as stack:
        for feed in feeds:
            stack.callback(feed.close)
        is_last = False
        while not is_last:
            stopped, state = stop.is_set(), run.read_status().status  # before the records: all are there then
            is_last = stopped or state in OVER
            for feed in feeds:
                feed.forward(is_over=state in OVER)
            if not is_last:
                stop.wait(PAUSE_SECONDS)


class Feed:
    """The records of one run on their way to one tracker."""

    def __init__(self, home: Path, run: RunFolder, name: OtherTracker) -> None:
        self._home, self._run, self._name = home, run, name
        self._open = ExitStack()
        self._write: Write | None = None
        self._has_failed = False
        self._begin()

    def forward(self, *, is_over: bool) -> None:
        """Give what is new; a tracker that fails is given no more."""
        try:
            if not self._has_failed and not (
                is_over and self._write is None and has_all(self._name, self._run)
            ):
                self._forward(is_over=is_over)
        except Exception:  # whatever a tracker or a damaged file raises
            traceback.print_exc()
            self._has_failed = True

    def close(self) -> None:
        """What was given is there to be seen."""
        self._open.close()

    def _forward(self, *, is_over: bool) -> None:
        records = self._tail.read(accept=None if is_over else self._run.settled())
        if any(record.step <= self._last.get(record.kind, -1) for record in records):
            self.close()
            self._begin()
            records = self._tail.read(accept=None if is_over else self._run.settled())
        for record in records:
            self._give(record)
        if is_over:
            self.close()
            note_all(self._name, self._run)

    def _give(self, record: Record) -> None:
        if self._write is None:
            self._write = self._open.enter_context(WRITERS[self._name](self._home, self._run.read_info()))
        self._write(record)
        self._last[record.kind] = record.step

    def _begin(self) -> None:
        self._write = None
        self._tail = Tail(self._run.metrics_path)
        self._last: dict[str, int] = {}


def main() -> None:
    """Follow the run that the command line names, until the other end of stdin is gone."""
    os.nice(NICENESS)
    home, path, *names = sys.argv[1:]
    stop = threading.Event()

    def listen() -> None:
        os.read(sys.stdin.fileno(), 1)
        stop.set()

    threading.Thread(target=listen, daemon=True).start()
    follow(Path(home), RunFolder(Path(path)), cast("list[OtherTracker]", names), stop)


if __name__ == "__main__":
    main()
