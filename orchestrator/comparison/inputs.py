"""Checks whether the compared runs read the same inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.storage.inputs import said
from orchestrator.storage.run_folder import RunInfo


def different_inputs(runs: Sequence[RunInfo]) -> Iterator[str]:
    """What a reader has to know before runs are compared, a line each: files that were not the same for all."""
    for info in runs:
        for change in info.accepted:
            if change["old"] and change["old"]["digest"]:  # else it was not known before
                yield f"{info.arm} seed-{info.seed}: from iteration {change['iteration']} {said([change])}"
    labels = dict.fromkeys(label for info in runs for label in info.inputs or {})
    for label in labels:
        read: dict[str, list[str]] = {}
        for info in runs:
            digest = (info.inputs or {}).get(label, {}).get("digest")
            if digest:
                read.setdefault(digest, []).append(f"{info.campaign}/{info.arm}")
        if len(read) > 1:
            those = "; ".join(
                f"{digest.partition(':')[2][:12]} for {', '.join(dict.fromkeys(arms))}"
                for digest, arms in read.items()
            )
            yield f"{label} is not the same for all: {those}"
