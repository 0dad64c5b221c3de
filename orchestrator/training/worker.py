"""The process of one run: ``python -m orchestrator.training.worker RUN_FOLDER [--with-parent]``.

Graders are spawned, and a spawned process imports the main module of its parent again.  So this one
imports nothing heavy: torch and Lightning would cost every grader ten seconds and half a gigabyte.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings


def main(path: str, *, with_parent: bool) -> int:
    """Work on a run; give the exit status.  ``with_parent``: stop when the other end of stdin is gone."""
    # On purpose, see policies.loading.load_pretrained.
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    if with_parent:
        threading.Thread(target=stop_with_parent, daemon=True).start()
    from orchestrator.training.run import main as work

    return work(path)


def stop_with_parent() -> None:
    """End this process like a SIGTERM does when whoever holds the other end of stdin is gone."""
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], with_parent="--with-parent" in sys.argv[2:]))
