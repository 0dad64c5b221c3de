"""The fingerprint of a configuration: whether two runs of one seed have the same result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Mapping
from typing import Any

from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.own_paths import without_folders
from orchestrator.configuration.signals import reads_reference
from orchestrator.masking import masked

EXECUTION_ONLY = (
    "micro_batch_size", "tokens_per_micro_batch", "packing", "recompute_activations", "checkpoint_every",
    "checkpoint_minutes", "devices", "num_nodes", "strategy",
)  # fmt: skip
"""Settings of the learner that decide how a run is computed and not what comes out."""


def fingerprint(config: RunConfig, plain: dict[str, Any]) -> str:
    """Hash of everything that decides the result of a run, but for its seed.

    How much is in memory at once, how often is saved, how many processes share the work and which policy is kept
    besides may change when a run goes on, and credentials too.  The plant that a loop was designed for decides
    nothing, nor does a guardrail that only warns, a bound that is only checked, or a reference that no loop reads.

    Args:
        config: of the run.
        plain: the same as YAML can hold it, credentials and all.
    """
    plain = without_folders(masked(plain))
    learner = _without(plain["learner"], EXECUTION_ONLY)
    if learner["precision"] == "auto":  # what it is on a CPU, and was before there was a choice
        learner["precision"] = "32-true"
    # A bound that is only checked, unless responses in flight are waited for because of it.
    in_flight = config.rollout.in_flight
    bounds = () if in_flight and in_flight.unfinished == "go_on" else ("max_staleness",)
    rollout = _without(plain["rollout"], bounds)
    rollout["engine"] = _without(rollout["engine"], config.rollout.engine.execution_only)
    unread = () if reads_reference(config.loops) else ("reference",)
    plain |= {
        "policy": _without(plain["policy"], unread),
        "learner": learner,
        "rollout": rollout,
        "evaluation": _without(plain["evaluation"], ("keep_best",)),
        "loops": {name: loop | {"plant": None} for name, loop in plain["loops"].items()},
    }
    guardrails = config.guardrails.deciding
    del plain["guardrails"]
    content = json.dumps(plain | ({"guardrails": guardrails} if guardrails else {}), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _without(section: Mapping[str, Any], keys: Container[str]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in keys}
