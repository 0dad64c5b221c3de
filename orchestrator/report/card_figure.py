"""The picture of a model card: how a run learned, as a PNG file."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from orchestrator.storage.run_data import Array, RunRecords, entropy_setpoint

DPI = 110


def learning_curves(run: RunRecords) -> bytes | None:
    """Held-out pass rates, entropy with its setpoint, reward and length of responses; None where nothing was measured."""
    from matplotlib.figure import Figure  # half a second

    panels = [(title, curves) for title, curves in _panels(run) if curves]
    if not panels:
        return None
    figure = Figure(figsize=(4.0 * len(panels), 3.0), layout="constrained")
    axes: Any = figure.subplots(1, len(panels), squeeze=False)
    for axis, (title, curves) in zip(axes[0], panels, strict=True):
        for label, (steps, values) in curves.items():
            style: Any = {"marker": "o"} if steps.size < 20 else {}
            axis.plot(steps, values, label=label, **style)
        axis.set_title(title)
        axis.set_xlabel("iteration")
        if len(curves) > 1:
            axis.legend()
    buffer = io.BytesIO()
    # No date in the file: the same run gives the same bytes.
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": "entrostat"})
    return buffer.getvalue()


Curves = dict[str, tuple[Array, Array]]


def _panels(run: RunRecords) -> list[tuple[str, Curves]]:
    """Titles, each with its curves by name: steps and values where both are known."""
    rates = {
        name.removeprefix("eval/"): (run.evaluation.steps, run.evaluation.get(name))
        for name in run.evaluation.values
        if name.startswith("eval/pass_")
    }
    train = run.train
    entropy = {
        "entropy": (train.steps, train.get("entropy")),
        "setpoint": (train.steps, entropy_setpoint(run)),
    }
    panels = [
        ("held-out pass rates", rates),
        ("entropy [nats/token]", entropy),
        ("reward", {"reward": (train.steps, train.get("reward"))}),
        ("length of responses [tokens]", {"length": (train.steps, train.get("rollout/length"))}),
    ]
    return [
        (title, {name: known for name, curve in curves.items() if (known := _known(*curve))[0].size})
        for title, curves in panels
    ]


def _known(steps: Any, values: Array) -> tuple[Array, Array]:
    kept = np.isfinite(values)
    return steps[kept], values[kept]
