"""Time of an iteration with rollouts one iteration ahead of the learner, over that in turns.

Both train the same tiny policy by the same settings; ahead, the engine samples in a process of its own.  A run has one
thread for each of its processes, so two cores are needed for a ratio that means anything, and quiet ones.

    python benchmarks/ahead.py [--quick]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.own_process import trained
from orchestrator.campaign import prepare
from orchestrator.configuration.resolve import read_campaign

PHASES = ("rollout", "grade", "measure", "update", "wait", "push", "iteration")
WARM_UP = 3  # iterations that fill caches, and start the engine


def campaign(ahead: int, folder: str, iterations: int) -> dict[str, object]:
    """A run whose rollout and update take about as long as each other."""
    return {
        "name": f"ahead-{ahead}",
        "policy": {"source": "builtin:tiny", "warm_start": {"num_steps": 50, "error_rate": 0.12}},
        "task": {"kind": "arithmetic", "num_digits": 2},
        "learner": {
            "iterations": iterations,
            "prompts_per_iteration": 32,
            "group_size": 16,
            "minibatches": 2,
            "learning_rate": 1e-4,
            "importance": {"kind": "truncated", "cap": 2.0},
            "accelerator": "cpu",
        },
        "rollout": {"max_tokens": 12, "ahead": ahead},
        "evaluation": {"every": iterations, "num_problems": 4, "num_samples": 2, "pass_at": [2]},
        "tracking": {"folder": folder},
        "execution": {"threads": 1},
        "arms": [{"name": "grpo", "method": "grpo"}],
    }


def seconds_by_phase(ahead: int, folder: str, iterations: int) -> dict[str, float]:
    """Median seconds of each phase of an iteration of a run in a process of its own."""
    path = Path(folder) / f"ahead-{ahead}.yaml"
    path.write_text(yaml.safe_dump(campaign(ahead, folder, iterations)))
    run = prepare(read_campaign(path)).run("grpo", 0)
    records = trained(run)[WARM_UP:]
    return {
        phase: statistics.median(record.get(f"seconds/{phase}", 0.0) for record in records)
        for phase in PHASES
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="Fewer iterations.")
    iterations = 8 if parser.parse_args().quick else 30
    print(
        f"median seconds of {iterations - WARM_UP} iterations\n{'':10}" + "".join(f"{p:>11}" for p in PHASES)
    )
    with tempfile.TemporaryDirectory() as folder:
        found = {ahead: seconds_by_phase(ahead, folder, iterations) for ahead in (0, 1)}
    for ahead, seconds in found.items():
        print(f"ahead {ahead:<4}" + "".join(f"{seconds[phase]:11.3f}" for phase in PHASES))
    print(f"ahead 1 over ahead 0: {found[1]['iteration'] / found[0]['iteration']:.2f}")


if __name__ == "__main__":
    main()
