"""Notices about settings that are allowed but may be unintended; they are printed, never refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controllers.laws.auto import Auto
from controllers.laws.open_loop import OpenLoop
from controllers.parts.coverage import Coverage
from controllers.parts.moving_references import ScheduledBand
from controllers.parts.references import Band, InitialAnchored
from orchestrator.configuration.loops import LoopConfig
from orchestrator.configuration.resolve import Arm
from policies.importance import NoImportance
from policies.model.prompt_start import Bos, start_of_folder
from policies.model.sources import BUILTIN, GGUF, local_source
from policies.model.warm_start import WarmStart
from policies.objectives.policy_gradient import PolicyGradient
from policies.statistics.reference_kl import REFERENCE_KL
from tasks import Task
from tasks.kinds.mixture import Mixture
from tasks.kinds.route_trap import RouteTrap
from tasks.misconceptions import Misconception


def notices(arms: Sequence[Arm]) -> list[str]:
    """One line for each thing to bear in mind, with the key that it is about."""
    of_loops = [
        f"arms.{arm.name}.loops.{name}.{notice}"
        for arm in arms
        for name, loop in arm.config.loops.items()
        for notice in (*_falling(loop), *_one_sided(loop))
    ]
    return [*_starts(arms), *_nothing_to_find(arms), *_uncorrected(arms), *of_loops]


def _uncorrected(arms: Sequence[Arm]) -> Iterator[str]:
    """Arms that learn from old responses as if the policy of now had given them."""
    for arm in arms:
        rollout = arm.config.rollout
        learner = arm.config.learner
        # A ratio to the engine corrects by itself.
        by_ratio = learner.measure == "in_update" and not isinstance(learner.objective, PolicyGradient)
        if by_ratio or not isinstance(learner.importance, NoImportance):
            continue
        if rollout.in_flight is not None and rollout.in_flight.unfinished == "go_on":
            age, key = f"up to {rollout.max_staleness}", "rollout.in_flight"
        elif rollout.ahead:
            age, key = f"{rollout.ahead}", "rollout.ahead"
        else:
            continue
        cure = (
            "the objective 'clipped_surrogate' corrects for that, or 'truncated' with learner.measure 'before_update'"
            if learner.measure == "in_update"
            else "'truncated' corrects for that"
        )
        yield (
            f"arms.{arm.name}.learner.importance: 'none' takes responses that are {age} updates old ({key}) for those of "
            f"the policy of now; {cure}"
        )


def _nothing_to_find(arms: Sequence[Arm]) -> Iterator[str]:
    """Rates of a task's demonstrations that leave nothing to find, or nothing that samples could find it by."""
    found = [
        (arm.name, notice)
        for arm in arms
        if arm.config.policy.source == BUILTIN
        for notice in _rates(arm.config.task, arm.config.policy.warm_start)
    ]
    for notice in dict.fromkeys(notice for _, notice in found):
        names = [name for name, own in found if own == notice]
        yield notice if len(names) == len(arms) else f"arms.{', '.join(names)}: {notice}"


def _rates(task: Task, start: WarmStart) -> Iterator[str]:
    if isinstance(task, Mixture):
        for place, member in enumerate(task.tasks):
            yield from (f"task.tasks.{place}.{notice}" for notice in _rates(member.task, start))
    fault: Misconception | None = getattr(task, "misconception", None)
    if fault is not None and fault.rate in (0.0, 1.0):
        yield "task.misconception.rate: " + (
            "0 makes no fault, so there is nothing to find"
            if fault.rate == 0.0
            else "1 shows no right step, so that samples may never find it; 0.97 shows a few"
        )
    if isinstance(task, RouteTrap):
        if start.error_rate == 0.0:
            yield "policy.warm_start.error_rate: 0 shows right responses alone, so route_trap is no trap"
        elif task.scratchpad_rate in (0.0, 1.0):
            yield "task.scratchpad_rate: " + (
                "0 never shows the scratchpad, so that samples may never find it"
                if task.scratchpad_rate == 0.0
                else "1 shows the scratchpad alone, so there is nothing to find"
            )


def _starts(arms: Sequence[Arm]) -> Iterator[str]:
    """What raw prompts begin with, once for all arms alike; nothing where that is their text."""
    alike: dict[tuple[str, Bos], list[str]] = {}
    for arm in arms:
        policy = arm.config.policy
        if policy.chat is None and policy.source != BUILTIN:
            alike.setdefault((policy.source, policy.bos), []).append(arm.name)
    for (source, bos), names in alike.items():
        if notice := _start(source, bos):
            yield f"policy.bos of {', '.join(names)}: {notice}"


def _start(source: str, bos: Bos) -> str | None:
    folder = _folder(source)
    known = start_of_folder(folder) if folder else None
    if known is None:
        return {
            "tokenizer": f"prompts begin with what the tokenizer of {source!r} puts first by itself, which the log of a run says",
            "always": f"prompts begin with the BOS token of {source!r}, whether or not its tokenizer puts it first by itself",
            "never": "prompts begin with no special token, whatever the tokenizer does by itself",
        }[bos]
    own, token = known
    if bos == "never":
        return (
            f"prompts begin with no special token, and the tokenizer would put {own!r} first" if own else None
        )
    if own and (bos == "tokenizer" or token in own):
        return f"prompts begin with {own!r}, which the tokenizer puts first by itself; 'never' leaves it out"
    return (
        None
        if bos == "tokenizer"
        else f"prompts begin with {token + own!r}, without which the tokenizer leaves them"
    )


def _folder(source: str) -> str | None:
    """The folder of a model on this machine; a GGUF file is converted before its tokenizer can be read."""
    try:
        path = local_source(source)
    except ValueError:  # nothing is there, which `check_campaign` says
        return None
    return str(path) if path is not None and path.suffix != GGUF else None


def _falling(loop: LoopConfig) -> Iterator[str]:
    """A sensor that falls as the command rises, under a law that raises the command where the sensor is too low."""
    if isinstance(loop.law, OpenLoop):
        return
    if loop.sensor == "starvation":
        yield (
            "sensor: 'starvation' falls as entropy rises, so the loop pushes it away from its setpoint; take "
            "'teaching_groups', which is 1 minus it, with 1 minus the setpoint"
        )
    if loop.sensor == REFERENCE_KL and loop.actuator.needs_reference:
        yield (
            f"sensor: {REFERENCE_KL!r} falls as the command rises, so the loop pushes it away from its setpoint; take "
            f"'{REFERENCE_KL}/nearness', which is exp of minus it, with exp of minus the setpoint"
        )


def _one_sided(loop: LoopConfig) -> Iterator[str]:
    """A loop that should hold a setpoint from both sides and can push from one only.

    With a command that ends at neutral, a loop watches entropy explode with the command at its limit.  A
    band without a lower or an upper edge asks for one side only, and an actuator that has only one is what
    its author chose; with the law ``auto`` no author chose it, so there it is said.  With ``auto`` a setpoint
    that follows coverage is a floor: what pushed entropy down to it ruined policies (docs/proof.md).
    """
    command, (low, high) = loop.actuator.command, loop.bounds
    if isinstance(loop.law, OpenLoop) or isinstance(loop.reference, Band | ScheduledBand):
        return
    if isinstance(loop.law, Auto):
        yield from _auto_on_one_side(loop)
    is_floor = isinstance(loop.law, Auto) and isinstance(loop.reference, Coverage)
    for end, widest, side in ((low, command.low, "down"), (high, command.high, "up")):
        if end == command.neutral != widest and not (is_floor and side == "down"):
            yield (
                f"limits: [{low:g}, {high:g}] end at the neutral command, so the loop cannot push entropy "
                f"{side}; the range of {loop.actuator.kind!r} is [{command.low:g}, {command.high:g}]: take both "
                "sides unless one is meant"
            )


def _auto_on_one_side(loop: LoopConfig) -> Iterator[str]:
    """What ``auto`` cannot hold on an actuator that has one side only, whatever it learns."""
    command, kind = loop.actuator.command, loop.actuator.kind
    if command.low < command.neutral < command.high:
        return
    up = command.high > command.neutral
    can, side, far = ("raise", "above", "fall") if up else ("lower", "below", "rise")
    start = 1.0
    if isinstance(loop.reference, InitialAnchored):
        start = loop.reference.fraction
    elif isinstance(loop.reference, Coverage):
        start = loop.reference.start_fraction
    opposite = start < 1 if up else start > 1
    yield (
        f"actuator: {kind!r} can only {can} entropy, so with the law auto the loop waits for it to {far} by itself "
        f"from {side} the setpoint"
        + (f", where this one starts: it is {start:g} times the initial entropy" if opposite else "")
    )
