"""The process of one run: ``python -m orchestrator.training.worker RUN_FOLDER [--with-parent]``.

A run on several devices launches one such process for each device, its ranks, and waits for
them; a process that torchrun launched is one of the ranks.

Graders are spawned, and a spawned process imports the main module of its parent again.  This module therefore
imports nothing heavy: torch and Lightning would cost every grader ten seconds and half a gigabyte.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from dataclasses import replace
from pathlib import Path

from orchestrator.execution.credentials import borrowed
from orchestrator.masking import mask_output
from orchestrator.storage.run_folder import RunFolder
from orchestrator.training.launcher import EXIT_FAILED, launch, num_ranks


def main(path: str, *, with_parent: bool) -> int:
    """Work on a run; give the exit status.  ``with_parent``: stop when the other end of stdin is gone."""
    # On purpose, see policies.model.loading.load_pretrained.
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    if with_parent:
        threading.Thread(target=stop_with_parent, daemon=True).start()
    folder = RunFolder(Path(path))
    try:
        size = num_ranks(folder)
    except ValueError as error:
        folder.write_status(replace(folder.read_status(), status="failed", reason=str(error)))
        return EXIT_FAILED
    if size > 1:
        return launch(folder, ["-P", "-m", "orchestrator.training.worker", path, "--with-parent"], size)
    from orchestrator.training.run import main as work

    return work(path)


def stop_with_parent() -> None:
    """End this process as a SIGTERM does when the process at the other end of stdin is gone."""
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    mask_output(*borrowed())
    sys.exit(main(sys.argv[1], with_parent="--with-parent" in sys.argv[2:]))
