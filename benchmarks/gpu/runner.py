"""Runs checks one after another within a budget of time, and prints and stores what they find."""

from __future__ import annotations

import gc
import importlib
import json
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.gpu.bench import Bench, Finding, LacksError
from benchmarks.gpu.checks import Check

OURS = {"benchmarks", "controllers", "tasks", "policies", "orchestrator", "entrostat"}


@dataclass(frozen=True)
class Outcome:
    """How a check ended: ``passed``, ``failed``, or ``skipped`` for a reason."""

    number: int
    title: str
    state: str
    reason: str
    seconds: float
    findings: list[Finding]


def run(checks: Sequence[Check], *, device: str, budget_seconds: float, path: Path | None) -> int:
    """Run the checks; give the exit status, which is 1 if one of them failed."""
    start = time.monotonic()
    if device == "cuda" and not torch.cuda.is_available():
        print(f"torch {torch.__version__} finds no GPU; --device cpu runs everything at tiny sizes")
        return 1
    name = torch.cuda.get_device_name() if device == "cuda" else "the CPU, at tiny sizes"
    print(f"on {name}, torch {torch.__version__}, at most {budget_seconds:g} s", flush=True)
    outcomes: list[Outcome] = []
    for check in checks:
        left = budget_seconds - (time.monotonic() - start)
        outcome = _outcome(check, torch.device(device), left)
        outcomes.append(outcome)
        _print(outcome)
        if path is not None:
            path.write_text(json.dumps({"device": name, "checks": [asdict(each) for each in outcomes]}))
    counts = {
        state: sum(each.state == state for each in outcomes) for state in ("passed", "failed", "skipped")
    }
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] else 0


def _outcome(check: Check, device: torch.device, left: float) -> Outcome:
    needs = check.seconds if device.type == "cuda" else check.tiny_seconds
    if needs > left:
        reason = f"it takes {needs:g} s, and {max(left, 0.0):.0f} s are left"
        return Outcome(check.number, check.title, "skipped", reason, 0.0, [])
    bench, reason, start = Bench(device), "", time.monotonic()
    try:
        module, function = check.where.split(":")
        getattr(importlib.import_module(module), function)(bench)
        state = "failed" if any(finding.passes is False for finding in bench.findings) else "passed"
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        state, reason = ("failed" if missing in OURS else "skipped"), f"needs the package {error.name}"
    except LacksError as error:
        state, reason = "skipped", str(error)
    except Exception as error:
        traceback.print_exc()
        state, reason = "failed", f"{type(error).__name__}: {error}".splitlines()[0]
    seconds = time.monotonic() - start
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return Outcome(check.number, check.title, state, reason, seconds, bench.findings)


def _print(outcome: Outcome) -> None:
    reason = f": {outcome.reason}" if outcome.reason else ""
    print(f"{outcome.number:3}  {outcome.state.upper()}  {outcome.title}{reason}  [{outcome.seconds:.1f} s]")
    for finding in outcome.findings:
        print(finding)
    print(end="", flush=True)
