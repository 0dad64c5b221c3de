"""Runs in processes of their own: ranks that play unequal turns, one that is killed, and one told to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.gpu.bench import Bench, LacksError
from benchmarks.gpu.runs import ROOT, ZOO, failure, prepared

if TYPE_CHECKING:
    from orchestrator.storage.run_folder import RunFolder

START_LIMIT_SECONDS, END_LIMIT_SECONDS = 480.0, 60.0
SAVE_LIMIT_SECONDS = 90.0  # of the 120 that a cluster gives, see configs/launch/slurm.sbatch
LONG = ["learner.iterations=100000", "learner.checkpoint_every=1", "evaluation.every=100000"]


def unequal_turns(bench: Bench) -> None:
    """Play episodes on two ranks with a sharded policy and an engine that sleeps; the rank that is done waits."""
    from benchmarks.gpu.colocated import needs

    needs(bench, 2)
    settings = [
        *("learner.iterations=4", "learner.devices=2", "learner.strategy=fsdp2"),
        "rollout.engine={kind: vllm, sleep: true, memory_fraction: 0.2}",
    ]
    with prepared(bench, ROOT / "configs" / "episodes.yaml", "grpo", settings) as run:
        start = time.monotonic()
        with _working(run) as process:
            process.wait(timeout=START_LIMIT_SECONDS)
        reason = failure(run)
        bench.require("four iterations", reason is None, reason or f"in {time.monotonic() - start:.0f} s")
        turns = [record.metrics["rollout/turns"] for record in run.records() if record.kind == "train"]
        bench.say("turns of an episode", ", ".join(f"{mean:.2f}" for mean in turns))


def killed_rank(bench: Bench) -> None:
    """Kill one of two ranks: the run has to end soon, name it, and go on from its checkpoint."""
    if bench.is_gpu:
        import torch

        if torch.cuda.device_count() < 2:
            raise LacksError("needs 2 GPUs; --device cpu kills a rank without")
    with prepared(bench, ZOO, "grpo", [*LONG, "learner.devices=2"]) as run:
        with _working(run) as process:
            _wait_for(run, process, 2)
            ranks = [child for child in psutil.Process(process.pid).children() if _is_rank(child)]
            start = time.monotonic()
            ranks[-1].send_signal(signal.SIGKILL)
            process.wait(timeout=START_LIMIT_SECONDS)
        bench.at_most("until the others ended [s]", time.monotonic() - start, END_LIMIT_SECONDS)
        reason = failure(run) or "done"
        bench.require("what is said of it", "killed by SIGKILL" in reason, reason)
        reached = _num_iterations(run)
        with _working(run) as process:
            _wait_for(run, process, reached + 1)
        bench.require("the same command goes on", True, f"beyond iteration {reached}")


def stopped_run(bench: Bench) -> None:
    """Tell a run to stop, and wait until it has saved."""
    with prepared(bench, ZOO, "grpo", LONG) as run, _working(run) as process:
        _wait_for(run, process, 2)
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=START_LIMIT_SECONDS)
        bench.at_most("from SIGTERM to saved [s]", time.monotonic() - start, SAVE_LIMIT_SECONDS)
        bench.require("exit status", status == 143, f"{status}")
        saved = run.checkpoint_path.exists()
        bench.require("how it ended", saved, f"{failure(run)}")


@contextmanager
def _working(run: RunFolder) -> Iterator[subprocess.Popen[bytes]]:
    """The process of a run, which does not live longer than this block."""
    command = [sys.executable, "-m", "orchestrator.training.worker", str(run.path)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    with Path(run.path / "log.txt").open("ab") as told:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=told, stderr=told, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _is_rank(process: psutil.Process) -> bool:
    return "orchestrator.training.worker" in process.cmdline()


def _num_iterations(run: RunFolder) -> int:
    return sum(record.kind == "train" for record in run.records())


def _wait_for(run: RunFolder, process: subprocess.Popen[bytes], num_iterations: int) -> None:
    """Until so many iterations are recorded.

    Raises:
        RuntimeError: the run has ended before, or takes too long.
    """
    deadline = time.monotonic() + START_LIMIT_SECONDS
    while _num_iterations(run) < num_iterations:
        if process.poll() is not None:
            raise RuntimeError(f"the run has ended: {failure(run)}; {run.log_path.read_text()[-2000:]}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"no {num_iterations} iterations within {START_LIMIT_SECONDS:g} s")
        time.sleep(0.2)
