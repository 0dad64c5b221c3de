"""Rolls a run back to the last good checkpoint, and continues with other limits of the commands.

A guardrail does it by itself (``rollback``), or the user does it by retrying a run that a guardrail stopped.

The order of the writes makes a kill between them safe: first the checkpoint is put back, then
`rollbacks.json` is written.  A run killed before the second write continues from the checkpoint with the old
limits, fails the same way at the same iteration, and is rolled back then.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from itertools import takewhile

from controllers.guardrails.base import Side
from orchestrator.configuration.loops import LoopConfig, dead_time
from orchestrator.configuration.models import RunConfig
from orchestrator.storage.files import replacing
from orchestrator.storage.guardrail_files import (
    GOES_BACK_FOR,
    Event,
    Rollback,
    read_events,
    read_rollbacks,
    write_rollbacks,
)
from orchestrator.storage.run_folder import RunFolder
from orchestrator.training.checkpoint_files import DamagedCheckpointError
from orchestrator.training.going_on import usable
from orchestrator.training.guardrails import GuardrailStop

Limits = tuple[float, float]

log = logging.getLogger(__name__)


def roll_back(folder: RunFolder, config: RunConfig, event: Event) -> Rollback:
    """Put the last good checkpoint back and note what changes; without any, the run starts over.

    Raises:
        GuardrailStop: there were as many rollbacks as are allowed.
    """
    past = read_rollbacks(folder.rollbacks_path)
    num_of_its_own = sum(1 for _ in takewhile(lambda rollback: not rollback.requested, reversed(past)))
    if num_of_its_own >= config.guardrails.max_rollbacks:
        raise GuardrailStop(f"{event.reason}; it was rolled back {num_of_its_own} times before")
    rollback = _go_back(folder, config, event, past, requested=False)
    log.warning("rolled back to iteration %d; %s", rollback.to, rollback.change)
    return rollback


def take_up_again(folder: RunFolder) -> Rollback:
    """Roll back a stopped run on request; the allowed number of rollbacks starts again.

    What an evaluation has stopped goes on from what was saved then: nothing failed, so nothing is taken back.

    Raises:
        ValueError: no guardrail has stopped it.
    """
    causes = [each for each in read_events(folder.events_path) if each.action in GOES_BACK_FOR]
    if not causes:
        raise ValueError(
            f"{folder.events_path}: names no guardrail that stopped the run; delete {folder.path}"
        )
    past = read_rollbacks(folder.rollbacks_path)
    if (end := _iteration_of_end(folder, causes[-1])) is not None:
        return _note(folder, causes[-1], past, to=end, limits={}, requested=True)
    config = RunConfig(**folder.read_info().config)
    return _go_back(folder, config, causes[-1], past, requested=True)


def _go_back(
    folder: RunFolder, config: RunConfig, event: Event, past: Sequence[Rollback], *, requested: bool
) -> Rollback:
    settings = config.guardrails
    good = _good_iteration(folder)
    to = good or 0
    commands = _commands(folder, config, to)
    detector = settings.detectors[event.detector]
    before = limits_of(config.loops, past)
    after = {
        name: narrowed(
            detector.side,
            before[name],
            config.loops[name].actuator.command.neutral,
            given,
            settings.limit_factor,
        )
        for name, given in commands.items()
        if given and event.subject in ("", name)
    }
    changed = {name: limits for name, limits in after.items() if limits != before[name]}
    _restore(folder, good=good is not None)
    return _note(folder, event, past, to=to, limits=changed, requested=requested)


def _note(
    folder: RunFolder,
    event: Event,
    past: Sequence[Rollback],
    *,
    to: int,
    limits: Mapping[str, Limits],
    requested: bool,
) -> Rollback:
    rollback = Rollback(
        iteration=event.iteration,
        to=to,
        detector=event.detector,
        reason=event.reason,
        limits=limits,
        requested=requested,
    )
    write_rollbacks(folder.rollbacks_path, [*past, rollback])
    return rollback


def limits_of(loops: Mapping[str, LoopConfig], rollbacks: Sequence[Rollback]) -> dict[str, Limits]:
    """Lowest and highest command of each loop after some rollbacks."""
    limits = {name: loop.bounds for name, loop in loops.items()}
    for rollback in rollbacks:
        limits |= {name: (low, high) for name, (low, high) in rollback.limits.items()}
    return limits


def narrowed(side: Side, limits: Limits, neutral: float, commands: Sequence[float], factor: float) -> Limits:
    """Limits inside ``limits`` that some of ``commands``, given while it went wrong, would have met.

    Entropy too high: the highest command becomes ``factor`` times the highest given, counted from neutral.
    If all of them lowered entropy already, it is ``factor`` times the lowest, so that the loop always
    brakes; if that changes nothing, the lowest divided by ``factor``.  Entropy too low is the mirror
    image.  A failure of neither kind halves both (for a ``factor`` of a half): less of everything.
    """
    low, high = limits
    weakest, strongest = min(commands), max(commands)
    if side in ("low", "none") and (side == "low" or weakest < neutral):
        low = _raised(low, high, neutral, weakest, strongest, factor)
    if side in ("high", "none") and (side == "high" or strongest > neutral):
        high = -_raised(-high, -low, -neutral, -strongest, -weakest, factor)
    return low, high


def _raised(
    low: float, high: float, neutral: float, weakest: float, strongest: float, factor: float
) -> float:
    """A lowest command above the weakest given, where there is reason for one; or ``low`` as it is."""
    if weakest < neutral:
        wanted = neutral + factor * (weakest - neutral)
    else:
        wanted = neutral + factor * (strongest - neutral)
        if wanted <= weakest:
            wanted = neutral + (strongest - neutral) / factor
    wanted = min(high, wanted)
    return max(low, wanted) if wanted > weakest else low


def _iteration_of_end(folder: RunFolder, event: Event) -> int | None:
    """Iterations behind what was saved when an evaluation stopped the run; None where there is no such save."""
    if not folder.checkpoint_path.exists():
        return None
    try:
        found = usable(folder, folder.checkpoint_path)
    except DamagedCheckpointError:  # it goes back to the good one, as any other
        return None
    return found.iteration if found.end == event else None


def _good_iteration(folder: RunFolder) -> int | None:
    """Iterations that the good checkpoint has behind it; None where there is none to go back to."""
    if not folder.good_checkpoint_path.exists():
        return None
    try:
        return usable(folder, folder.good_checkpoint_path).iteration
    except DamagedCheckpointError as error:
        log.warning("the good checkpoint cannot be used, and the run starts over: %s", error)
        return None


def _restore(folder: RunFolder, *, good: bool) -> None:
    """The good checkpoint becomes the last and stays the good one; without one, there is no checkpoint any more.

    The one before the last goes first: with it gone, there is nothing to go on from that was taken back.
    """
    folder.previous_checkpoint_path.unlink(missing_ok=True)
    if good:
        with folder.good_checkpoint_path.open("rb") as kept, replacing(folder.checkpoint_path) as copy:
            shutil.copyfileobj(kept, copy)
    else:
        folder.good_checkpoint_path.unlink(missing_ok=True)
        folder.checkpoint_path.unlink(missing_ok=True)


def _commands(folder: RunFolder, config: RunConfig, start: int) -> dict[str, list[float]]:
    """What each loop had given to the updates from an iteration on: its commands then, or those of before if they wait."""
    records = [record for record in folder.records() if record.kind == "train"]
    last = max((record.step for record in records), default=start)
    found: dict[str, list[float]] = {}
    for name, loop in config.loops.items():
        late, key = dead_time(loop.actuator, 0, config.learner.measure), f"loop/{name}/u"
        given = [record for record in records if start - late <= record.step <= last - late]
        found[name] = [record.metrics[key] for record in given if key in record.metrics]
    return found
