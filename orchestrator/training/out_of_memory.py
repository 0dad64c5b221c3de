"""A run whose device is full: what took the memory by the estimate, and the setting that lowers it."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from orchestrator.configuration.memory_estimate import estimate, largest
from orchestrator.configuration.models import RunConfig
from orchestrator.training.phase_meter import Phase
from policies.model.loading import LoadedPolicy

CONTINUES_WITH = (
    "micro_batch_size",
    "tokens_per_micro_batch",
    "recompute_activations",
    "strategy",
    "devices",
    "memory_fraction",
    "sleep",
)
"""Settings of learner and engine that decide no result, so that a stored run takes others."""
_DID: Mapping[Phase, str] = {
    "rollout": "sampled",
    "measure": "measured the policy on its responses",
    "control": "computed the commands",
    "update": "updated the policy",
    "wait": "waited for the batch that is sampled ahead",
    "push": "gave the engine its weights",
}


class DeviceFullError(RuntimeError):
    """The memory of a device does not hold the run; with other settings it continues."""


def explained(
    error: torch.OutOfMemoryError, config: RunConfig, policy: LoadedPolicy, phase: Phase | None
) -> DeviceFullError:
    """What to tell the user instead.

    Args:
        error: of torch, whose first two sentences say how much was asked for.
        config: of the run.
        policy: that it trains.
        phase: that it happened in; None while the policy was put on the device, evaluated or saved.
    """
    needed = estimate(config, policy.model, _device_bytes())
    parts = needed.sampling if phase in ("rollout", None) else needed.updating
    did = _DID[phase] if phase else "was set up, evaluated or saved"
    said = ". ".join(str(error).split(". ")[:2])
    return DeviceFullError(
        f"the device ran out of memory while the run {did} ({said}); by the estimate most of it is for "
        f"{largest(parts)}; the same command continues the run from its last checkpoint, with another "
        f"{', '.join(CONTINUES_WITH)} too"
    )


def _device_bytes() -> float:
    return float(torch.cuda.mem_get_info()[1]) if torch.cuda.is_available() else 0.0
