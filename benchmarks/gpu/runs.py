"""Whole runs of the tiny policy: every preset on the device, and the same run there and on the CPU."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.gpu.bench import Bench

if TYPE_CHECKING:
    from orchestrator.storage.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
ZOO = ROOT / "configs" / "method_zoo.yaml"
SECONDS_OF_PRESETS = 60.0
READING_LIMIT, GAP_LIMIT, HALF_GAP_LIMIT, ENTROPY_LIMIT = 1e-4, 1e-4, 2e-2, 0.02
COMPARED = ("entropy", "reward", "surprisal", "grad_norm")


def presets(bench: Bench) -> None:
    """Train every arm of the zoo for two iterations, then one in float32 on the device and on the CPU."""
    from orchestrator.configuration.resolve import read_campaign

    names = [arm.name for arm in read_campaign(ZOO).arms][: bench.size(None, 2)]
    failed, num_trained, start = [], 0, time.monotonic()
    for name in names:
        if time.monotonic() - start > SECONDS_OF_PRESETS:
            break
        with _run(bench, name, ["learner.iterations=2"]) as run:
            num_trained += 1
            if reason := failure(run):
                failed.append(f"{name} ({reason})")
    bench.require(
        f"{num_trained} of {len(names)} presets train", not failed, "; ".join(failed) or "all of them"
    )
    if num_trained < len(names):
        bench.say("presets that there was no time for", ", ".join(names[num_trained:]))
    _same_run(bench)
    _bfloat16(bench)


def _same_run(bench: Bench) -> None:
    """Readings on the device and on the CPU, up to the iteration in which they sample another token."""
    settings = [f"learner.iterations={bench.size(20, 3)}", "learner.precision=32-true"]
    with _run(bench, "grpo", settings) as run, _run(bench, "grpo", settings, cpu=True) as beside:
        ours, theirs = _records(run), _records(beside)
    alike = 0
    for one, other in zip(ours, theirs, strict=True):
        if one["rollout/length"] != other["rollout/length"] or one["reward"] != other["reward"]:
            break
        alike += 1
    bench.at_least(f"iterations of {len(ours)} that sample the CPU's tokens", alike, min(2, len(ours)))
    gaps = [
        abs(one[name] - other[name]) / max(1.0, abs(other[name]))
        for one, other in zip(ours[:alike], theirs[:alike], strict=True)
        for name in COMPARED
    ]
    bench.at_most("their readings off the CPU's", max(gaps, default=math.inf), READING_LIMIT)
    bench.at_most("engine and learner in float32 [nats]", _largest_gap(ours), GAP_LIMIT)


def _bfloat16(bench: Bench) -> None:
    if bench.is_gpu:
        with _run(bench, "grpo", ["learner.iterations=5", "learner.precision=bf16-mixed"]) as run:
            gap = _largest_gap(_records(run))
        bench.at_most("engine and learner in bf16-mixed [nats]", gap, HALF_GAP_LIMIT)


def pi_loop(bench: Bench) -> None:
    """Hold entropy by a PI loop for 60 iterations, on the device as it trains by itself and on the CPU."""
    num_iterations = bench.size(60, 4)
    settings = [f"learner.iterations={num_iterations}"]
    held = []
    for cpu in (False, True):
        with _run(bench, "entropic", settings, cpu=cpu) as run:
            last = _records(run)[-num_iterations // 3 :]
        held.append(statistics.fmean(record["entropy"] for record in last))
    bench.say("entropy held on the device and on the CPU [nats]", f"{held[0]:.4f} and {held[1]:.4f}")
    bench.at_most("apart [nats]", abs(held[0] - held[1]), ENTROPY_LIMIT)


@contextmanager
def _run(bench: Bench, arm: str, settings: Sequence[str], *, cpu: bool = False) -> Iterator[RunFolder]:
    """A run of an arm of the zoo in this process, and its folder while it is looked at."""
    from orchestrator.training import run as worker

    with prepared(bench, ZOO, arm, settings, cpu=cpu) as run:
        worker.main(str(run.path))
        yield run


@contextmanager
def prepared(
    bench: Bench, path: Path, arm: str, settings: Sequence[str], *, cpu: bool = False
) -> Iterator[RunFolder]:
    """The folder of a run of a campaign, which has not begun; it is removed at the end."""
    from orchestrator.campaign import prepare
    from orchestrator.configuration.resolve import read_campaign

    with tempfile.TemporaryDirectory() as folder:
        changes = [
            f"tracking.folder={folder}",
            f"learner.accelerator={'cpu' if cpu or not bench.is_gpu else 'gpu'}",
            f"policy.warm_start.num_steps={bench.size(300, 30)}",
            f"learner.prompts_per_iteration={bench.size(32, 4)}",
            "evaluation.num_problems=2",
            "evaluation.num_samples=8",
            "evaluation.pass_at=[8]",
            "seeds=[0]",
        ]
        yield prepare(read_campaign(path, [*changes, *settings])).run(arm, 0)


def failure(run: RunFolder) -> str | None:
    """How a run ended, and why, if it is not done."""
    status = run.read_status()
    return None if status.status == "done" else f"{status.status}: {status.reason}"


def _records(run: RunFolder) -> list[dict[str, float]]:
    """The metrics of each iteration.

    Raises:
        RuntimeError: the run has failed.
    """
    if reason := failure(run):
        raise RuntimeError(reason)
    return [dict(record.metrics) for record in run.records() if record.kind == "train"]


def _largest_gap(records: Sequence[dict[str, float]]) -> float:
    return max(record["rollout/logprob_gap"] for record in records)
