"""What a campaign can name, with a line each, from the parts' own docstrings."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from controllers.guardrails import DETECTORS
from controllers.laws import LAWS
from controllers.parts.filters import FILTERS
from controllers.parts.references import REFERENCES
from orchestrator.configuration.resolve import method_names, read_method
from orchestrator.configuration.signals import ALL_SIGNALS
from orchestrator.execution import EXECUTORS
from policies.actuators import ACTUATORS
from policies.advantages import ADVANTAGES
from policies.importance import IMPORTANCES
from policies.objectives import OBJECTIVES
from policies.rollouts.settings import ENGINES
from tasks import TASKS


def describe(family: str) -> Iterator[tuple[str, str]]:
    """Name and summary of every member of a family."""
    yield from sorted(_FAMILIES[family]())


def _methods() -> Iterator[tuple[str, str]]:
    for name in method_names():
        yield name, read_method(name).summary


def _sensors() -> Iterator[tuple[str, str]]:
    for name, signal in ALL_SIGNALS.items():
        yield name, f"[{signal.unit}] {signal.description}"


def _study_objectives() -> Iterator[tuple[str, str]]:
    from orchestrator.tuning.objectives import described  # studies are read with the parts of this package

    for name, each in described().items():
        yield name, f"[{each.unit}] {each.direction}: {each.meaning}"


def _parts(registry: dict[str, type]) -> Callable[[], Iterator[tuple[str, str]]]:
    return lambda: ((kind, (part.__doc__ or "").strip().split("\n")[0]) for kind, part in registry.items())


_FAMILIES: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {
    "methods": _methods,
    "sensors": _sensors,
    "study_objectives": _study_objectives,
    "tasks": _parts(dict(TASKS)),
    "laws": _parts(dict(LAWS)),
    "references": _parts(dict(REFERENCES)),
    "filters": _parts(dict(FILTERS)),
    "actuators": _parts(dict(ACTUATORS)),
    "objectives": _parts(dict(OBJECTIVES)),
    "advantages": _parts(dict(ADVANTAGES)),
    "executors": _parts(dict(EXECUTORS)),
    "engines": _parts(dict(ENGINES)),
    "importance": _parts(dict(IMPORTANCES)),
    "guardrails": _parts(dict(DETECTORS)),
}
