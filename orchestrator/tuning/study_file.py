"""From a study file to a checked study: its campaign, its arm, its plant, and whether they fit together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from controllers.parts.references import Free
from orchestrator.configuration.checks import arm_problems
from orchestrator.configuration.loops import LoopConfig, dead_time
from orchestrator.configuration.resolve import Arm, parse, read_campaign, twins
from orchestrator.configuration.yaml_files import dotted, read_yaml
from orchestrator.engineering.plant_file import read_plant, retimed
from orchestrator.errors import ConfigError, did_you_mean, lines_of, named, refusing
from orchestrator.tuning.addressed_sampling import first_rung
from orchestrator.tuning.criteria import described
from orchestrator.tuning.judging import why_no_sensitivity
from orchestrator.tuning.models import Halving, StudyConfig, Wilcoxon
from orchestrator.tuning.space import corners, in_order
from orchestrator.tuning.study import Start, Study

MEASURES = ("task", "evaluation", "phases", "learner.iterations")
"""Settings that decide how a trial is measured: trials that differ in them cannot be ranked."""


def read_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Read a study, the campaign that it names and its plant, and check that they fit.

    Raises:
        ConfigError: anything is wrong in the study, the campaign or the plant file.
    """
    content = read_yaml(path, overrides)
    if "arms" in content and "space" not in content:
        raise ConfigError(
            f"{path}: this is a campaign, not a study; give it to `entrostat run`, or name it in a study's `campaign`"
        )
    config = parse(StudyConfig, content, str(path))
    try:
        config = config.model_copy(update={"space": in_order(config.space)})
    except ValueError as error:
        raise ConfigError(f"{path}: space.{error}") from error
    try:
        campaign = read_campaign(path.parent / config.campaign, list(dotted(config.over)))
    except ConfigError as error:
        raise ConfigError(f"{path}: campaign: {error}") from error
    arms = {arm.name: arm for arm in campaign.arms}
    if config.arm not in arms:
        raise ConfigError(f"{path}: arm: {campaign.path} has no such arm; {did_you_mean(config.arm, arms)}")
    arm = arms[config.arm]
    loop = _judged_loop(path, config, arm)
    start = _start(path, config, arm, loop)
    study = Study(path=path, config=config, campaign=campaign, arm=arm, loop=loop, start=start)
    refuse(study, _study_problems(study))
    refuse(study, _space_problems(study))
    return study


def refuse(study: Study, problems: Iterable[str]) -> None:
    """Refuse a study that has problems.

    Raises:
        ConfigError: with a line for each of the problems.
    """
    if found := dict.fromkeys(problems):
        raise ConfigError(lines_of(f"{named(study.path)}: {problem}" for problem in found))


def wasted_training(study: Study) -> Iterator[str]:
    """Settings under which training would be wasted, one ``key: rule, value; remedy`` each.

    A command asks this when a study begins and never again: what a study is cannot be corrected once it has trials.
    """
    if study.config.budget.trials == 0:
        return
    for seed in twins(study.seeds)[:1]:
        yield f"seeds: {seed} is there twice, and the same run would count twice; give each its own"
    yield from _idle_pruner(study)
    searched = [path for path in study.config.space if path.partition(".")[0] == "guardrails"]
    deciding: set[str] = set()  # keys of `guardrails` that can change a run's result, somewhere in the space
    for _, params in corners(study.config.space) if searched else ():
        if acting := study.candidate(params).config.guardrails.deciding:
            deciding |= {"enabled", *acting}
    for path in searched:
        if f"{path}.".split(".")[1] not in deciding:
            yield (
                f"space.{path}: the guardrail only warns in this arm, so that no value changes a result; give it an "
                "action such as rollback or stop, or remove this from the space"
            )


def _idle_pruner(study: Study) -> Iterator[str]:
    pruner = study.config.pruner
    if isinstance(pruner, Halving):
        first, last = first_rung(pruner, study.num_iterations), study.last_judged_iteration
        if first > last:
            yield (
                f"pruner.first: must be at most {last} to prune at all, the last look at a trial before its end "
                f"({len(study.seeds)} seeds of {study.num_iterations} iterations, a look every {study.looks[0]}), "
                f"got {first}; lower it, or report_every"
            )
    if isinstance(pruner, Wilcoxon):
        needed = 2  # fewest pairs whose one-sided signed-rank test can have a p below the threshold: 2⁻ⁿ < p
        while 2.0**-needed >= pruner.p_threshold:
            needed += 1
        if len(study.seeds) <= needed:
            yield (
                f"pruner.p_threshold: {pruner.p_threshold:g} needs {needed} seeds to be undercut at all, "
                f"and one more to save, got {len(study.seeds)}; add seeds, or raise it"
            )


def _judged_loop(path: Path, config: StudyConfig, arm: Arm) -> str:
    loops = arm.config.loops
    if config.loop is not None:
        if config.loop not in loops:
            raise ConfigError(
                f"{path}: loop: arm {arm.name!r} has no such loop; {did_you_mean(config.loop, loops)}"
            )
        return config.loop
    with_setpoint = [name for name, loop in loops.items() if not isinstance(loop.reference, Free)]
    return next(iter([*with_setpoint, *loops]), "")


def _start(path: Path, config: StudyConfig, arm: Arm, loop_name: str) -> Start | None:
    """The plant from its file, or the one that the loop was designed for."""
    loop = arm.config.loops.get(loop_name)
    own = config.simulation.plant if config.simulation else None
    initial = config.simulation.initial_nats if config.simulation else None
    if own is None or loop is None:
        if loop is None or loop.plant is None:
            return None
        plant = loop.plant.in_run(dead_time(loop.actuator, **arm.config.timing))
        return Start(plant=plant, initial_nats=initial or plant.level_nats, source="the arm's loop")
    try:
        file = read_plant(path.parent / own)
    except ConfigError as error:
        raise ConfigError(f"{path}: simulation.plant: {error}") from error
    if (file.channel.actuator.kind, file.channel.sensor) != (loop.actuator.kind, loop.sensor):
        raise ConfigError(
            f"{path}: simulation.plant: {own} is from {file.channel.actuator.kind!r} to {file.channel.sensor!r}, "
            f"and the loop {loop_name!r} from {loop.actuator.kind!r} to {loop.sensor!r}; identify that one"
        )
    with refusing(
        f"{path}: simulation.plant: {own}", "its delay does not have the wait of its own runs in it"
    ):
        file = retimed(file, **arm.config.timing)
    initial = initial or file.channel.initial_nats or file.plant.level_nats
    return Start(plant=file.plant, initial_nats=initial, source=own)


def _study_problems(study: Study) -> Iterator[str]:
    """Settings that do not fit together, one ``key: rule, value; remedy`` each."""
    config, loop = study.config, study.arm.config.loops.get(study.loop)
    yield from _paths(study)
    if config.simulation is None and config.budget.trials == 0:
        yield "budget.trials: must be at least 1 without a simulation, got 0; raise it, or add a simulation"
    for each in study.criteria if config.budget.trials else ():
        if each.k is not None and each.k not in (1, *study.arm.config.evaluation.pass_at):
            yield (
                f"objective: {each.name!r} needs evaluation.pass_at to have {each.k}, got "
                f"{list(study.arm.config.evaluation.pass_at)}; add it in {study.campaign.path}"
            )
    free = loop is None or isinstance(loop.reference, Free)
    for each in {*study.criteria, *(study.simulated_criteria if config.simulation else ())}:
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
    able = ", ".join(name for name, each in described().items() if each.simulable)
    for each in study.simulated_criteria:
        if not each.simulable:
            yield f"simulation.objective: a plant cannot tell {each.name!r}; set it to one of {able}"
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


def _space_problems(study: Study) -> Iterator[str]:
    """Candidates from all over the space have to be valid configurations."""
    for path, params in corners(study.config.space):
        try:
            arm = study.candidate(params)
        except ConfigError as error:
            yield str(error).removeprefix(f"{study.path}: ")
            continue
        loop = arm.config.loops.get(study.loop)
        if study.config.simulation is not None and loop is not None:
            missing = sorted(set(loop.build().reads) - {loop.reading} - set(study.telemetry))
            if missing:
                yield (
                    f"simulation: the loop {study.loop!r} reads {', '.join(missing)}, which a plant cannot tell; "
                    "leave simulation out"
                )
        yield from (f"space.{path}: at {params[path]!r}: {problem}" for problem in arm_problems(arm))
        if study.config.constraints.sensitivity is not None and loop is not None:
            reason = why_no_sensitivity(loop)
            if reason is not None:
                yield f"constraints.sensitivity: {reason}"
