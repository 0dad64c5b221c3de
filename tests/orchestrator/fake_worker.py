"""Stands in for `orchestrator.training.worker` where only the scheduling is under test: the arm says how it ends.

good      works off its iterations
bad       says why it failed
dies      is killed without a word
waits     works until it is told to stop, then says that it stopped
stubborn  works and does not listen
creeps    is killed four times, each time after it saved once more
preempted is told to stop by its machine, once
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from orchestrator.storage.run_folder import RunFolder, Status


def main(path: str) -> int:
    folder = RunFolder(Path(path))
    with folder.lock(wait_seconds=10.0):
        arm = folder.read_info().arm
        folder.write_status(Status(status="running", pid=os.getpid()))
        with folder.writer() as writer:
            if not writer.has(0, "train"):
                writer.append(0, {"entropy": 1.0})
        if arm == "bad":
            folder.write_status(Status(status="failed", reason="[bold] it does that"))
            return 1
        if arm == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if arm == "creeps" and len(saved := load(folder)) < 4:
            save(folder, saved + "x")
            os.kill(os.getpid(), signal.SIGKILL)
        if arm == "preempted" and not load(folder):
            save(folder, "x")
            interrupted(path)
        if arm in ("waits", "stubborn"):
            time.sleep(60.0)
        folder.write_status(Status(status="done", iteration=1, num_iterations=1))
        return 0


def load(folder: RunFolder) -> str:
    return folder.checkpoint_path.read_text() if folder.checkpoint_path.exists() else ""


def save(folder: RunFolder, text: str) -> None:
    folder.checkpoint_path.parent.mkdir(exist_ok=True)
    folder.checkpoint_path.write_text(text)


def interrupted(path: str) -> None:
    RunFolder(Path(path)).write_status(Status(status="interrupted", reason="told to stop"))
    os._exit(143)


def stop_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    stubborn = RunFolder(Path(sys.argv[1])).read_info().arm == "stubborn"
    signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn else lambda *_: interrupted(sys.argv[1]))
    threading.Thread(target=stop_with_parent, daemon=True).start()
    sys.exit(main(sys.argv[1]))
