"""Stands in for `orchestrator.training.worker`: entropy stays off its setpoint by |log10 kp| / 10 nats.

ki says what else happens: 0.9 and more diverges, 0.8 dies, 0.7 collapses and 0.6 explodes early in the run.
``FAKE_PAUSE`` is how many seconds an iteration takes.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from pathlib import Path

from orchestrator.storage.run_folder import RunFolder, Status


def main(path: str) -> int:
    folder = RunFolder(Path(path))
    info = folder.read_info()
    law = info.config["loops"]["entropy"]["law"]
    num = info.config["learner"]["iterations"]
    pause = float(os.environ.get("FAKE_PAUSE", "0"))
    with folder.lock(wait_seconds=10.0), folder.writer() as writer:
        folder.write_status(Status(status="running", pid=os.getpid()))
        off = abs(math.log10(law["kp"])) / 10
        for t in range(num):
            if t % 10 == 0 and not writer.has(t, "eval"):
                writer.append(t, {"eval/pass_at_1": t / num, "eval/pass_at_4": 0.5}, kind="eval")
            if not writer.has(t, "train"):
                writer.append(t, metrics(law, off, t, info.seed))
            if t == num // 2 and 0.8 <= law["ki"] < 0.9:
                os.kill(os.getpid(), signal.SIGKILL)
            if t == num // 2 and law["ki"] >= 0.9:
                reason = "TrainingDivergedError: the loss was not finite"
                folder.write_status(Status(status="failed", reason=reason))
                return 1
            time.sleep(pause)
        if not writer.has(num, "eval"):
            writer.append(num, {"eval/pass_at_1": 1.0, "eval/pass_at_4": 0.5}, kind="eval")
        folder.write_status(Status(status="done", iteration=num, num_iterations=num))
    return 0


def metrics(law, off, t, seed):
    reading = 0.4 - off - 0.001 * seed
    if 0.7 <= law["ki"] < 0.8 and t >= 5:
        reading = 0.01
    if 0.6 <= law["ki"] < 0.7 and t >= 5:
        reading = 1.5
    return {
        "entropy": reading,
        "surprisal": reading - 0.5,
        "reward": 0.5,
        "loop/entropy/r": 0.4,
        "loop/entropy/u": 0.1 * (t % 2),
        "loop/entropy/y": reading,
    }


def interrupted() -> None:
    RunFolder(Path(sys.argv[1])).write_status(Status(status="interrupted", reason="told to stop"))
    os._exit(143)


def stop_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    interrupted()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: interrupted())
    threading.Thread(target=stop_with_parent, daemon=True).start()
    sys.exit(main(sys.argv[1]))
