"""Stands in for ``orchestrator.training.worker``: rank 1 reads every signal with another last bit, as on a mixed node.

Each rank writes the commands that it has in force to a file of its own in the run's folder.
"""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path


def commands_of(folder: Path, rank: int) -> Path:
    """The file of a rank's commands, one line an iteration."""
    return folder / f"commands-{rank}.jsonl"


def read_otherwise(folder: Path, rank: int) -> None:
    """Let this process read and note as said above."""
    from orchestrator.training import learner
    from orchestrator.training.entropy_control import EntropyControl

    measure, follow = learner.measure, EntropyControl.follow

    def measured(*args, **kwargs):
        readings = measure(*args, **kwargs)
        return {name: math.nextafter(y, math.inf) for name, y in readings.items()} if rank else readings

    def noted(control, commands):
        follow(control, commands)
        with commands_of(folder, rank).open("a") as file:
            file.write(json.dumps(dict(control.commands)) + "\n")

    learner.measure, EntropyControl.follow = measured, noted


def main(path, *arguments):
    """As the worker's, with ranks that come through here too."""
    from orchestrator.training import worker

    launch = worker.launch
    worker.launch = lambda folder, command, size: launch(folder, ["-P", __file__, *command[3:]], size)
    if "RANK" in os.environ:
        read_otherwise(Path(path), int(os.environ["RANK"]))
    return worker.main(path, with_parent="--with-parent" in arguments)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
