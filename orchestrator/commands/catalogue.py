"""Lists what a campaign can name, one line each, from the docstrings of the parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from controllers.base import Filter, Law, Reference
from controllers.guardrails import DETECTORS
from controllers.guardrails.base import Detector
from controllers.laws import LAWS
from controllers.parts.filters import FILTERS
from controllers.parts.references import AUTO, REFERENCES
from orchestrator.configuration.method_file import ConstantSource, MethodConfig, is_number
from orchestrator.configuration.own_families import OWN
from orchestrator.configuration.own_kinds import OwnKinds
from orchestrator.configuration.resolve import method_names, read_method
from orchestrator.configuration.signals import ALL_SIGNALS
from orchestrator.execution import EXECUTORS
from policies.actuators import ACTUATORS
from policies.actuators.base import Actuator
from policies.advantages import ADVANTAGES, Advantage
from policies.importance import IMPORTANCES
from policies.objectives import OBJECTIVES, Objective
from policies.rollouts.settings import ENGINES
from tasks import TASKS, Task


def describe(family: str) -> Iterator[tuple[str, str]]:
    """Name and summary of every member of a family."""
    yield from sorted(_FAMILIES[family]())


def _methods() -> Iterator[tuple[str, str]]:
    for name in method_names():
        yield name, read_method(name).summary


def _constants() -> Iterator[tuple[str, str]]:
    """Every number of every preset with where it was read, and what its parts add by default."""
    for name in method_names():
        method = read_method(name)
        said = {path: (value, method.constants.get(path)) for path, value in method.numbers().items()}
        default = ConstantSource(read="default")
        every = said | {path: (value, default) for path, value in unsaid(method).items()}
        for path, (value, constant) in every.items():
            where = "no source" if constant is None else constant.read
            more = f": {constant.where}" if constant is not None and constant.where else ""
            yield f"{name} {path}", f"{value}  {where}{more}"


def unsaid(method: MethodConfig) -> dict[str, Any]:
    """Numbers that a preset leaves to the defaults of the parts that it names, by their dotted paths."""
    found: dict[str, Any] = {}
    for name, loop in method.loops.items():
        found |= _defaults_of(f"loops.{name}", loop)
    return found | _defaults_of("learner", method.learner)


def _defaults_of(above: str, section: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, registry in _PARTS.items():
        said = section.get(key)
        if isinstance(said, Mapping) and said.get("kind") in registry:
            found |= {
                f"{above}.{key}.{field.name}": field.default
                for field in fields(registry[said["kind"]])
                if field.name not in said and is_number(field.default)
            }
    return found


def _sensors() -> Iterator[tuple[str, str]]:
    for name, signal in ALL_SIGNALS.items():
        yield name, f"[{signal.unit}] {signal.description}"


def _study_objectives() -> Iterator[tuple[str, str]]:
    from orchestrator.tuning.criteria import described  # studies are read with the parts of this package

    for name, each in described().items():
        yield name, f"[{each.unit}] {each.direction}: {each.meaning}"


def _parts(registry: dict[str, type], own: OwnKinds | None = None) -> Callable[[], Iterator[tuple[str, str]]]:
    """Ours, and what installed packages offer."""

    def described() -> Iterator[tuple[str, str]]:
        for kind, part in registry.items():
            yield kind, (part.__doc__ or "").strip().split("\n")[0]
        yield from own.offered() if own is not None else ()

    return described


def _references() -> Iterator[tuple[str, str]]:
    yield from _parts(dict(REFERENCES), OWN[Reference])()
    for name, kind in AUTO.items():
        yield name, f"Another name of {kind}, which is what a loop has that names none."


_PARTS: dict[str, Mapping[str, Any]] = {
    "law": LAWS,
    "reference": REFERENCES,
    "filter": FILTERS,
    "actuator": ACTUATORS,
    "objective": OBJECTIVES,
    "advantage": ADVANTAGES,
}
"""The parts of a loop or a learner that a preset names by their kind."""

_FAMILIES: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {
    "methods": _methods,
    "constants": _constants,
    "sensors": _sensors,
    "study_objectives": _study_objectives,
    "tasks": _parts(dict(TASKS), OWN[Task]),
    "laws": _parts(dict(LAWS), OWN[Law]),
    "references": _references,
    "filters": _parts(dict(FILTERS), OWN[Filter]),
    "actuators": _parts(dict(ACTUATORS), OWN[Actuator]),
    "objectives": _parts(dict(OBJECTIVES), OWN[Objective]),
    "advantages": _parts(dict(ADVANTAGES), OWN[Advantage]),
    "executors": _parts(dict(EXECUTORS)),
    "engines": _parts(dict(ENGINES)),
    "importance": _parts(dict(IMPORTANCES)),
    "guardrails": _parts(dict(DETECTORS), OWN[Detector]),
}
