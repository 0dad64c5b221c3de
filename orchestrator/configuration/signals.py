"""The signals that a loop can read: the sensors, and the learner's own readings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestrator.configuration.loops import LoopConfig
from policies.statistics.reference_kl import REFERENCE_KL
from policies.statistics.sensors import SIGNALS, Signal, signal
from tasks import own_code

LEARNER_SIGNALS: dict[str, Signal] = {
    "learning_rate": Signal(
        unit="per step", description="of the coming update, after warm-up, schedule and phase"
    ),
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


def reads_reference(loops: Mapping[str, LoopConfig]) -> bool:
    """Whether some loop compares the policy with a reference, whatever its command."""
    return any(
        loop.actuator.needs_reference or any(read.startswith(REFERENCE_KL) for _, read in signals_read(loop))
        for loop in loops.values()
    )


def check_own_sensors(loops: Mapping[str, LoopConfig]) -> Iterator[str]:
    """Whether sensors of the user's own have a reading each; it has the name of the function."""
    first: dict[str, tuple[str, str]] = {}
    for name, loop in loops.items():
        if not own_code.is_own(loop.sensor):
            continue
        owner, sensor = first.setdefault(loop.reading, (name, loop.sensor))
        if sensor != loop.sensor:
            yield (
                f"loops.{name}.sensor: must have a name of its own, got {loop.sensor}, and the loop {owner!r} reads "
                f"{sensor}, both as {loop.reading!r}; rename one of the functions"
            )
