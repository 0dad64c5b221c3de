"""Entrostat from Python: read, run, compare, loop, simulate, and the interfaces of parts of one's own.

    >>> import entrostat
    >>> loop = entrostat.loop(actuator={"kind": "bonus"}, reference={"kind": "constant", "value_nats": 0.5}, limits=(-1, 1))
    >>> plant = entrostat.IntegratingPlant(gain=0.02, drift=0.004, initial_nats=1.0)
    >>> round(entrostat.simulate(loop, plant, num_iterations=1000)[-1].y, 2)
    0.5

These names stay; the packages behind them (``controllers``, ``tasks``, ``policies``, ``orchestrator``) may move things.
A name is imported when it is first used, so a file of rewards or tasks costs a grader no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from entrostat._packages import secure

if TYPE_CHECKING:
    from controllers import (
        PID,
        Auto,
        Constant,
        FeedbackLoop,
        Filter,
        IntegratingPlant,
        Law,
        Reference,
        Sample,
        State,
        Terms,
        Trace,
        simulate,
    )
    from controllers.guardrails.base import Ceiling, Detector, Reading
    from entrostat.campaigns import compare, loop, read, run
    from policies.actuators.base import (
        AdvantageActuator,
        Command,
        LogitActuator,
        LossActuator,
        RatioActuator,
        RewardActuator,
        SamplingActuator,
        WeightActuator,
    )
    from policies.advantages import Advantage
    from policies.objectives.base import BoundedObjective, Bounds, Metrics, Objective
    from policies.statistics.batch import TokenBatch
    from tasks import Problem, Split, Task

secure()

_PLACES = {
    "entrostat.campaigns": ("compare", "loop", "read", "run"),
    "controllers": (
        *("Auto", "Constant", "FeedbackLoop", "Filter", "IntegratingPlant", "Law", "PID", "Reference"),
        *("Sample", "State", "Terms", "Trace", "simulate"),
    ),
    "controllers.guardrails.base": ("Ceiling", "Detector", "Reading"),
    "policies.actuators.base": (
        *("AdvantageActuator", "Command", "LogitActuator", "LossActuator", "RatioActuator"),
        *("RewardActuator", "SamplingActuator", "WeightActuator"),
    ),
    "policies.advantages": ("Advantage",),
    "policies.objectives.base": ("BoundedObjective", "Bounds", "Metrics", "Objective"),
    "policies.statistics.batch": ("TokenBatch",),
    "tasks": ("Problem", "Split", "Task"),
}
_PLACE_OF = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "PID",
    "Advantage",
    "AdvantageActuator",
    "Auto",
    "BoundedObjective",
    "Bounds",
    "Ceiling",
    "Command",
    "Constant",
    "Detector",
    "FeedbackLoop",
    "Filter",
    "IntegratingPlant",
    "Law",
    "LogitActuator",
    "LossActuator",
    "Metrics",
    "Objective",
    "Problem",
    "RatioActuator",
    "Reading",
    "Reference",
    "RewardActuator",
    "Sample",
    "SamplingActuator",
    "Split",
    "State",
    "Task",
    "Terms",
    "TokenBatch",
    "Trace",
    "WeightActuator",
    "compare",
    "loop",
    "read",
    "run",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACE_OF:
        raise AttributeError(f"module 'entrostat' has no attribute {name!r}")
    value = getattr(import_module(_PLACE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
