"""Finds the checkpoint to continue from: the newest intact one up to which the run's record is complete.

Two checkpoints are kept, `last.ckpt` and `previous.ckpt`, and a third if a guardrail may roll back.  A damaged
file therefore costs only the iterations since the one before it.  Every checkpoint that is passed over is reported.
A run that no checkpoint fits ends with an error that names the remedy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from orchestrator.storage.guardrail_files import Event
from orchestrator.storage.metrics_log import Mark, damage, is_marked
from orchestrator.storage.run_folder import RunFolder
from orchestrator.training.checkpoint_files import DamagedCheckpointError, keep, read_checkpoint
from orchestrator.training.ranks import Ranks
from orchestrator.training.shares import check_shares


class NothingToGoOnFromError(ValueError):
    """There are checkpoints, and none of them can be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoingOn:
    """A checkpoint, and why others were passed over."""

    path: Path
    iteration: int
    """Iterations that it has behind it."""
    mark: Mark | None = None
    """The run's record as it was then; None of an earlier version."""
    end: Event | None = None
    """What an evaluation found, where it is the save of a run that was stopped by that."""
    passed_over: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """What was passed over, in a sentence; "" for nothing."""
        why = "; ".join(self.passed_over)
        return f"went back to {self.path.name} of iteration {self.iteration}: {why}" if why else ""


def checkpoints_of(folder: RunFolder) -> list[Path]:
    """The checkpoints that a run has, newest first."""
    paths = (folder.checkpoint_path, folder.previous_checkpoint_path, folder.good_checkpoint_path)
    return [path for path in paths if path.exists()]


def where_to_go_on(
    folder: RunFolder, at_most: int | None = None, ranks: Ranks | None = None
) -> GoingOn | None:
    """The checkpoint that a run goes on from; None where there is none, and the run begins.

    Args:
        folder: of the run.
        at_most: iterations that it may have behind it; None for any number.
        ranks: that look for it together, all of them; None for this process alone.

    Raises:
        NothingToGoOnFromError: there are some, and none can be used.
    """
    ranks = ranks or Ranks()
    names = ranks.of_first([path.name for path in checkpoints_of(folder)])
    paths, problems = [folder.checkpoint_path.with_name(name) for name in names], []
    if paths and paths[0] != folder.checkpoint_path:
        problems.append(f"{folder.checkpoint_path}: is missing")
    for path in paths:
        look = partial(usable, folder, path, ranks)
        try:
            found = ranks.gather_done(look, faults=(OSError, DamagedCheckpointError))[ranks.rank]
        except DamagedCheckpointError as error:
            problems.append(str(error))
            continue
        if at_most is None or found.iteration <= at_most:
            return replace(found, passed_over=tuple(problems))
        problems.append(f"{path}: is of iteration {found.iteration}, after {at_most}")
    if not problems:
        return None
    if at_most is not None:
        raise NothingToGoOnFromError(
            f"no checkpoint can be used that has at most {at_most} iterations: {'; '.join(problems)}"
        )
    checkpoints = folder.checkpoint_path.parent
    raise NothingToGoOnFromError(
        f"{'; '.join(problems)}; restore it from a copy, or, with all of {checkpoints}, delete it, and the run "
        "starts over"
    )


def usable(folder: RunFolder, path: Path, ranks: Ranks | None = None) -> GoingOn:
    """A checkpoint that is whole and up to which the run's record is complete.

    Raises:
        DamagedCheckpointError: one of them is not, as far as this one of ``ranks`` has looked.
    """
    content = read_checkpoint(path)
    check_shares(content, path, ranks or Ranks())
    iteration = int(content["learner"]["iteration"])
    callbacks = content.get("callbacks", {})
    marked = callbacks.get("Checkpointer", {}).get("record")
    mark = None if marked is None else Mark(**marked)
    log = folder.metrics_path
    if mark is None:
        broken = damage(log, iteration)
    elif is_marked(log, mark):
        broken = None
    else:
        broken = damage(log, iteration) or "a value or the time of a record has changed"
    if broken is not None:
        raise DamagedCheckpointError(
            f"{log}: is not what it was at iteration {iteration}, of {path.name}: {broken}"
        )
    due = callbacks.get("Guardrails", {}).get("due")
    end = None if due is None else Event(**due)
    return GoingOn(path=path, iteration=iteration, mark=mark, end=end)


def go_on(folder: RunFolder, found: GoingOn | None) -> None:
    """Take what a checkpoint does not know out of a run's folder; give it the name of the last one.

    For one process, while others may look for the checkpoint: under its own name it stays.
    """
    if found is not None and found.path != folder.checkpoint_path:
        keep(found.path, folder.checkpoint_path)
    if found is not None and found.mark is not None:
        folder.cut_records(found.mark.size)
    else:
        folder.truncate(-1 if found is None else found.iteration)


def how_to_go_on(folder: RunFolder) -> str:
    """What a user can do whose run ends the same way at every start: its settings, which are stored, do not change."""
    change = "--set name=NEW --set KEY=VALUE"
    try:
        found = where_to_go_on(folder)
    except ValueError:  # the next start says what is wrong
        found = None
    if found is None:
        return (
            "the same command ends the same way, and no checkpoint was saved yet: begin again with other settings and "
            f"under another name, `entrostat run CAMPAIGN.yaml {change}`"
        )
    return (
        f"the same command ends the same way; with other settings and under another name it goes on from iteration "
        f"{found.iteration}: `entrostat run CAMPAIGN.yaml {change} --continue-from {folder.path}`, earlier with "
        "--at-iteration N"
    )
