"""Training whose guardrails are shown readings that are made up: they fire when a test wants, on any processor.

What a policy does after a push is chaotic, and rounding decides it.  What a guardrail does is not.  As a program
this stands in for ``orchestrator.training.worker``, in a process or as many as the run has ranks.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

NAME, GO = "FORCED_READINGS", "FORCED_READINGS_GO"


def pushed(iteration, metrics):
    """Entropy explodes from iteration 5 on, as long as the command is above a half."""
    return {"entropy": 3.0 if iteration >= 5 and metrics["loop/entropy/u"] > 0.5 else 1.0}


def pulled(iteration, metrics):
    """Entropy collapses from iteration 4 on, as long as the command is below minus a tenth."""
    return {"entropy": 0.3 if iteration >= 4 and metrics["loop/entropy/u"] < -0.1 else 1.0}


def always(iteration, metrics):
    """Whatever the command, entropy is high at iteration 4."""
    return {"entropy": 3.0 if iteration == 4 else 1.0}


def raised(iteration, metrics):
    """Entropy is ten nats higher than it is from iteration 2 on."""
    return {"entropy": metrics["entropy"] + (10.0 if iteration >= 2 else 0.0)}


def mismatched(iteration, metrics):
    """The engine does not agree with the learner at all."""
    return {"rollout/logprob_gap": 1.0}


def waiting(iteration, metrics):
    """What was measured; but iteration 1 does not end before there is the file that the environment names."""
    while iteration == 1 and not Path(os.environ[GO]).exists():
        time.sleep(0.01)
    return {}


def forced(readings):
    """``Guardrails.watch`` that sees these readings, and so does the record of the iteration."""
    from orchestrator.training.guardrails import Guardrails

    watch = Guardrails.watch

    def watch_forced(guardrails, iteration, metrics):
        metrics.update(readings(iteration, metrics))
        return watch(guardrails, iteration, metrics)

    return watch_forced


def force_here(monkeypatch, readings):
    """Do so in this process."""
    from orchestrator.training.guardrails import Guardrails

    monkeypatch.setattr(Guardrails, "watch", forced(readings))


def command_and_environment(readings):
    """What a process is started with that trains with these readings, before the folder of its run."""
    from tests.elsewhere import python_path

    environment = os.environ | {"PYTHONPATH": python_path(), NAME: readings.__name__}
    return [sys.executable, "-P", __file__], environment


def main(path, *arguments):
    """As the worker's, with ranks that come through here too."""
    from orchestrator.training import worker

    launch = worker.launch

    def launch_here(folder, command, size):
        worker_of_rank = ["-P", __file__, *command[command.index(path) :]]
        return launch(folder, worker_of_rank, size)

    worker.launch = launch_here
    if worker.num_ranks(worker.RunFolder(Path(path))) == 1:
        from orchestrator.training.guardrails import Guardrails

        Guardrails.watch = forced(globals()[os.environ[NAME]])
    return worker.main(path, with_parent="--with-parent" in arguments)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
