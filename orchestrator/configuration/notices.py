"""What a campaign may do and its author may not have meant: said when it is read, never refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controllers.laws.open_loop import OpenLoop
from controllers.parts.references import Band
from orchestrator.configuration.models import LoopConfig
from orchestrator.configuration.resolve import Arm


def notices(arms: Sequence[Arm]) -> list[str]:
    """One line for each thing to bear in mind, with the key that it is about."""
    return [
        f"arms.{arm.name}.loops.{name}.{notice}"
        for arm in arms
        for name, loop in arm.config.loops.items()
        for notice in _one_sided(loop)
    ]


def _one_sided(loop: LoopConfig) -> Iterator[str]:
    """A loop that should hold a setpoint from both sides and can push from one only.

    With a command that ends at neutral, a loop watches entropy explode with the command at its limit.  A
    band without a lower or an upper edge asks for one side only, and an actuator that has only one is what
    its author chose.
    """
    command, (low, high) = loop.actuator.command, loop.bounds
    if isinstance(loop.law, OpenLoop) or isinstance(loop.reference, Band):
        return
    for end, widest, side in ((low, command.low, "down"), (high, command.high, "up")):
        if end == command.neutral != widest:
            yield (
                f"limits: [{low:g}, {high:g}] end at the neutral command, so the loop cannot push entropy "
                f"{side}; the range of {loop.actuator.kind!r} is [{command.low:g}, {command.high:g}]: take both "
                "sides unless one is meant"
            )
