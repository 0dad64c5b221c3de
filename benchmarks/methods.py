"""Extra cost of each method against plain GRPO, as ratios of iteration time and of peak memory.

Every arm of configs/method_zoo.yaml is trained in this process, a few iterations at a time and in turns, and
compared with the plain GRPO arm that takes as many optimiser steps a batch.  So that all arms do the same
work, the policy stands still (the learning rate is next to nothing) and a loop is replaced by a command next
to neutral, at which its actuator is in force; then iteration i is the same work in every arm and every round.
Time is the processor time of this process, of each iteration the fastest of the rounds, since whatever else
the machine does can only slow it down; the ratio is the median over iterations.  Memory is the largest sum of
live tensors during an iteration, counted by the profiler, rollout included; a process's resident size would
drown it.

    python benchmarks/methods.py [--quick] [--threads 1]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.profiler import ProfilerActivity, profile

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from controllers.laws.open_loop import OpenLoop  # noqa: E402
from orchestrator.campaign import prepare  # noqa: E402
from orchestrator.configuration.loops import LoopConfig  # noqa: E402
from orchestrator.configuration.part_schema import to_plain  # noqa: E402
from orchestrator.configuration.resolve import Arm, read_campaign  # noqa: E402
from orchestrator.storage.run_folder import RunFolder  # noqa: E402
from orchestrator.training import attempt  # noqa: E402
from orchestrator.training import run as worker  # noqa: E402
from orchestrator.training.learner import Learner  # noqa: E402
from orchestrator.training.ranks import Ranks  # noqa: E402
from policies.statistics import hidden_states  # noqa: E402
from tasks.grading.pool import GradingPool  # noqa: E402

GOAL = 1.15
BASELINE = "grpo"
CHANGES = [
    "learner.learning_rate=1e-12",
    "learner.checkpoint_every=1000",
    "evaluation.num_problems=1",
    "evaluation.num_samples=1",
    "evaluation.pass_at=[]",
    "seeds=[0]",
]


@dataclass(slots=True)
class Cost:
    """What one arm was measured to need."""

    seconds: list[list[float]] = field(default_factory=list)  # processor time, a list a round
    updates: list[list[float]] = field(default_factory=list)  # the same for the update phase
    peak_bytes: float = 0.0
    passes: float = 0.0  # forward passes over all tokens of an iteration, those of generation aside


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    rounds, iterations = (2, 5) if arguments.quick else (4, 10)
    with tempfile.TemporaryDirectory() as root:
        changes = [*CHANGES, f"learner.iterations={iterations}", f"tracking.folder={root}"]
        campaign = read_campaign(ROOT / "configs" / "method_zoo.yaml", changes)
        chosen = [arm for arm in campaign.arms if not arguments.only or arm.name in arguments.only]
        baselines = [arm for arm in campaign.arms if arm.method == BASELINE]
        arms = [*baselines, *(arm for arm in chosen if arm not in baselines)]
        folder = prepare(campaign)
        costs: dict[str, Cost] = defaultdict(Cost)
        with GradingPool(arms[0].config.task) as graders:
            attempt.GradingPool = lambda *_, **__: contextlib.nullcontext(graders)  # they take long to start
            for number in range(rounds):
                for arm in arms:
                    measure(arm, folder.run(arm.name, 0), costs[arm.name], count=number == 0)
                    print(".", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    report(arms, costs)


def measure(arm: Arm, run: RunFolder, cost: Cost, *, count: bool) -> None:
    """One round of an arm.  Counting memory and passes takes its last iteration."""
    for path in (run.metrics_path, run.checkpoint_path, run.start_path):
        path.unlink(missing_ok=True)
    info = replace(run.read_info(), config=_in_force(arm))
    last = info.config["learner"]["iterations"] - 1
    with _clocked() as clocks, _counted(cost, last) if count else contextlib.nullcontext(), _quietly():
        worker.train(run, info, Ranks())
    cost.seconds.append(clocks["training_step"][1:last])  # the first warms up, the last may be profiled
    cost.updates.append(clocks["_update"][1:last])


def report(arms: list[Arm], costs: dict[str, Cost]) -> None:
    """The table, then who is above the goal and why."""
    baselines = {arm.config.learner.steps_per_batch: arm.name for arm in arms if arm.method == BASELINE}
    print(f"{'arm':24}{'steps':>7}{'iteration':>11}{'update':>9}{'memory':>9}{'passes':>9}")
    above = []
    for arm in arms:
        cost, steps = costs[arm.name], arm.config.learner.steps_per_batch
        base = costs[baselines[steps]]
        iteration, update = _ratio(cost.seconds, base.seconds), _ratio(cost.updates, base.updates)
        memory = cost.peak_bytes / base.peak_bytes
        print(f"{arm.name:24}{steps:7d}{iteration:11.3f}{update:9.3f}{memory:9.3f}{cost.passes:9.2f}")
        if max(iteration, memory) > GOAL:
            extra = cost.passes - base.passes
            reason = (
                f"{extra:.2f} more forward passes over the batch: it looks at the policy again before a step"
                if extra > 0.01
                else "no further forward pass explains it"
            )
            above.append(f"{arm.name}: time {iteration:.2f}, memory {memory:.2f}; {reason}")
    print(f"goal: iteration and memory at most {GOAL}, unless a method takes another forward pass")
    for line in above or ["no method is above it"]:
        print(line)


def _in_force(arm: Arm) -> dict[str, Any]:
    """The configuration of an arm with its loops at a constant command next to neutral, and no floor."""
    plain = arm.plain
    plain["loops"] = {name: to_plain(_constant(loop)) for name, loop in arm.config.loops.items()}
    plain["policy"]["initialisation"]["floor_nats"] = None  # it costs once, before training
    return plain


def _constant(loop: LoopConfig) -> LoopConfig:
    command = loop.actuator.command
    if isinstance(loop.law, OpenLoop) and loop.law.value != command.neutral:
        return loop
    towards = command.high if command.high > command.neutral else command.low
    value = command.neutral + 1e-3 * (towards - command.neutral)
    return loop.model_copy(update={"law": OpenLoop(value=value), "limits": None})


@contextlib.contextmanager
def _clocked() -> Iterator[dict[str, list[float]]]:
    """Processor seconds of every call of the learner's step and of its update."""
    clocks: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        for name in ("training_step", "_update"):
            method, seconds = getattr(Learner, name), clocks.setdefault(name, [])

            def timed(self: Learner, *positional: Any, call: Any = method, into: Any = seconds) -> Any:
                start = time.process_time()
                result = call(self, *positional)
                into.append(time.process_time() - start)
                return result

            setattr(Learner, name, timed)
            stack.callback(setattr, Learner, name, method)
        yield clocks


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Nothing on the terminal, not even from libraries in other languages."""
    saved = os.dup(2)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(io.StringIO()):  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


@contextlib.contextmanager
def _counted(cost: Cost, last: int) -> Iterator[None]:
    """Profile the last iteration's memory, and count the rows that the policy looks at."""
    step = Learner.training_step

    def counted(self: Learner, batch: Any, index: int) -> None:
        if self.iteration < last:
            return step(self, batch, index)
        rows = 0
        original = hidden_states.hidden_states

        def count(model: Any, sequences: Any, *places: Any) -> Any:
            nonlocal rows
            rows += len(sequences.input_ids)
            return original(model, sequences, *places)

        counting = patch.object(hidden_states, "hidden_states", count)
        with counting, profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            step(self, batch, index)
        cost.passes = rows / (self.settings.prompts_per_iteration * self.settings.group_size)
        cost.peak_bytes = _peak_bytes(profiler)
        return None

    Learner.training_step = counted  # type: ignore[method-assign]
    try:
        yield
    finally:
        Learner.training_step = step  # type: ignore[method-assign]


def _peak_bytes(profiler: profile) -> float:
    """Largest sum of what was allocated and not yet freed, over the profiled time."""
    results = profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
    events = sorted((e.start_ns(), e.nbytes()) for e in results if e.name() == "[memory]")
    live = peak = 0.0
    for _, size in events:
        live += size
        peak = max(peak, live)
    return peak


def _ratio(rounds: list[list[float]], base: list[list[float]]) -> float:
    """Median over iterations, each by its fastest round."""
    fastest, fastest_base = ([min(column) for column in zip(*each, strict=True)] for each in (rounds, base))
    return statistics.median(a / b for a, b in zip(fastest, fastest_base, strict=True))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds and iterations")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[], metavar="ARM", help="these arms and the baselines")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
