"""The signals that a loop can read: the sensors, and the learner's own readings."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.configuration.models import LoopConfig
from policies.statistics.sensors import SIGNALS, Signal, signal

LEARNER_SIGNALS: dict[str, Signal] = {
    "learning_rate": Signal(unit="per step", description="of the coming update, after warm-up and phase"),
}

ALL_SIGNALS: dict[str, Signal] = SIGNALS | LEARNER_SIGNALS


def is_signal(name: str) -> bool:
    """Whether a reading of that name can ever be there; any domain's can."""
    try:
        return name in LEARNER_SIGNALS or bool(signal(name))
    except ValueError:
        return False


def signals_read(loop: LoopConfig) -> Iterator[tuple[str, str]]:
    """Each signal that a loop needs, after the key of the part that reads it."""
    yield "sensor", loop.reading
    parts = {"reference": loop.reference, "law": loop.law, "feedforward": loop.feedforward}
    for key, part in parts.items():
        for name in part.reads if part is not None else ():
            yield key, name
