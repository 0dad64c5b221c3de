"""The sensitivity peak of a candidate's loop with the plant: known before anything is trained."""

from __future__ import annotations

from dataclasses import replace

from controllers.laws.pid import PID
from controllers.plants.plant import Plant
from orchestrator.configuration.models import LoopConfig


def why_no_sensitivity(loop: LoopConfig) -> str | None:
    """Why linear theory says nothing about a loop; None where it does."""
    if not isinstance(loop.law, PID):
        return f"is known of 'pid' laws only, and the space has {loop.law.kind!r}; leave it out"
    if loop.period != 1:
        return f"is known of loops with period 1 only, got {loop.period}; leave it out"
    return None


def sensitivity(loop: LoopConfig, plant: Plant) -> float:
    """Ms = max over frequency of |1 / (1 + L)|; inf where the loop is unstable."""
    from controllers.design.frequency import sensitivity_peak
    from controllers.design.transfer import close_law

    assert isinstance(loop.law, PID)
    plant = replace(plant, b=tuple(b * loop.unit for b in plant.b))  # per what the law counts as 1
    return float(sensitivity_peak(close_law(plant, loop.law, loop.filter)).max())
