"""What no single section of a study can know: whether it fits the campaign that it tunes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from controllers.parts.references import Free
from orchestrator.configuration.checks import arm_problems
from orchestrator.configuration.models import LoopConfig
from orchestrator.configuration.resolve import Arm
from orchestrator.errors import ConfigError, did_you_mean, lines_of, named
from orchestrator.tuning.sensitivity import why_no_sensitivity
from orchestrator.tuning.space import corners
from orchestrator.tuning.study import Study

MEASURES = ("task", "evaluation", "phases", "learner.iterations")
"""What decides how a trial is measured: trials that differ there cannot be ranked."""


def refuse(study: Study, problems: Iterable[str]) -> None:
    """Where there are any.

    Raises:
        ConfigError: with a line for each of the problems.
    """
    found = dict.fromkeys(problems)
    if found:
        raise ConfigError(lines_of(f"{named(study.path)}: {problem}" for problem in found))


def study_problems(study: Study) -> Iterator[str]:
    """What does not fit together, one ``key: rule, value; remedy`` each."""
    config, loop = study.config, study.arm.config.loops.get(study.loop)
    yield from _paths(study)
    if config.simulation is None and config.budget.trials == 0:
        yield "budget.trials: must be at least 1 without a simulation, got 0; raise it, or add a simulation"
    for each in study.objectives if config.budget.trials else ():
        if each.k is not None and each.k not in (1, *study.arm.config.evaluation.pass_at):
            yield (
                f"objective: {each.name!r} needs evaluation.pass_at to have {each.k}, got "
                f"{list(study.arm.config.evaluation.pass_at)}; add it in {study.campaign.path}"
            )
    free = loop is None or isinstance(loop.reference, Free)
    for each in {*study.objectives, *(study.simulated_objectives if config.simulation else ())}:
        if each.needs_setpoint and free:
            yield f"objective: {each.name!r} needs a loop with a setpoint, and arm {study.arm.name!r} has none"
    for name in ("collapse", "explosion"):
        bound = getattr(config.constraints, name)
        if bound is not None and bound.fraction is not None and free:
            yield f"constraints.{name}.fraction: there is no setpoint to be a fraction of; give nats"
    if config.simulation is not None:
        yield from _simulation_problems(study, loop)
    if config.constraints.sensitivity is not None and study.start is None:
        yield "constraints.sensitivity: needs a plant; name one in simulation.plant"


def _simulation_problems(study: Study, loop: LoopConfig | None) -> Iterator[str]:
    if loop is None:
        yield f"simulation: arm {study.arm.name!r} has no loop to simulate; leave simulation out"
    elif study.start is None:
        yield f"simulation.plant: is missing, and the loop {study.loop!r} has none either; add it"
    for each in study.simulated_objectives:
        if not each.simulable:
            yield (
                f"simulation.objective: a plant cannot tell {each.name!r}; set it to one of iae, rmse, "
                "relative_rmse, hold_error, harris_index, effort"
            )
    outside = [path for path in study.config.space if not path.startswith(f"loops.{study.loop}.")]
    if outside and loop is not None:
        yield (
            f"space.{outside[0]}: the plant answers the loop {study.loop!r} alone; "
            "remove it from the space, or leave simulation out"
        )


def _paths(study: Study) -> Iterator[str]:
    """Every mapping on the way to a parameter has to be there; the last key is checked by the parts."""
    for path in study.config.space:
        measured = next((key for key in MEASURES if f"{path}.".startswith(f"{key}.")), None)
        if measured is not None:
            yield f"space.{path}: {measured} decides how trials are measured; tune policy, learner, rollout or loops"
            continue
        inner = next((other for other in study.config.space if other.startswith(f"{path}.")), None)
        if inner is not None:
            yield f"space.{path}: the space has {inner} inside of it as well; remove one of the two"
        problem = _not_there(study, path)
        if problem is not None:
            yield f"space.{path}: {problem}"


def _not_there(study: Study, path: str) -> str | None:
    """Why an arm has no such path; its last key may be new to a mapping, but not to a list."""
    node: Any = study.arm.plain
    keys = path.split(".")
    for depth, key in enumerate(keys):
        where = ".".join(keys[:depth]) or f"the arm {study.arm.name!r}"
        if isinstance(node, list):
            if not node:
                return f"{where} is an empty list in this arm and has no place {key!r}; fill it there"
            if key not in map(str, range(len(node))):
                return (
                    f"{where} is {node!r} in this arm, a list whose places are 0 to {len(node) - 1}, got {key!r}; "
                    "name one of those"
                )
            node = node[int(key)]
        elif depth == len(keys) - 1 and isinstance(node, dict):
            return None
        elif isinstance(node, dict) and key in node:
            node = node[key]
        elif isinstance(node, dict):
            return f"there is no {key!r} in {where}; {did_you_mean(key, node)}"
        else:
            return f"{where} is {node!r} in this arm and has no keys; set it there"
    return None


def space_problems(study: Study) -> Iterator[str]:
    """Candidates from all over the space have to be valid configurations."""
    for path, params in corners(study.config.space):
        try:
            arm = study.candidate(params)
        except ConfigError as error:
            yield str(error).removeprefix(f"{study.path}: ")
            continue
        if study.config.simulation is not None:
            yield from _unreadable(study, arm)
        varied = f"space.{path}: at {params[path]!r}: "
        yield from (varied + problem for problem in arm_problems(arm))
        if study.config.constraints.sensitivity is not None:
            reason = why_no_sensitivity(arm.config.loops[study.loop])
            if reason is not None:
                yield f"constraints.sensitivity: {reason}"


def _unreadable(study: Study, arm: Arm) -> Iterator[str]:
    loop = arm.config.loops[study.loop]
    missing = sorted(set(loop.build().reads) - {loop.reading} - set(study.telemetry))
    if missing:
        yield (
            f"simulation: the loop {study.loop!r} reads {', '.join(missing)}, which a plant cannot tell; "
            "leave simulation out"
        )
