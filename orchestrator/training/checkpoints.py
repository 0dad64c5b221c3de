"""Checkpoints of a run: written completely or not at all; the last two are kept."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from orchestrator.storage.files import sync_folder
from orchestrator.storage.metrics_log import Mark, MetricsWriter
from orchestrator.storage.run_folder import RunFolder
from orchestrator.storage.sealed import write_sealed
from orchestrator.training.checkpoint_files import keep
from orchestrator.training.finite import Finiteness
from orchestrator.training.guardrails import EvaluationStop
from orchestrator.training.ranks import Ranks
from orchestrator.training.saves import Saves
from orchestrator.training.shares import drop_unnamed

log = logging.getLogger(__name__)


class UnsavedError(OSError):
    """The end of a run could not be saved; all ranks say so together."""


class Checkpointer(Callback):
    """Saves ``last.ckpt`` every so many iterations and at the end, by writing beside it and renaming.

    It also saves what an evaluation stops.  With ``every_seconds`` it also saves after an iteration where the last save is that long ago, by the first rank's
    clock: an iteration can take longer than a scheduler waits between its warning and the end, and a signal is
    read between two.

    The one before becomes ``previous.ckpt``, so that one that is damaged costs an interval.  With it goes a mark of
    the run's record, by which it is known whether that is still complete.

    A disk that is full costs the new checkpoint, never the old one, and the run goes on: it says so,
    and tries again at the next turn.  A run whose end is not saved is not done.

    If a run may roll back, ``is_good`` is given, and the checkpoint before the last is kept as ``good.ckpt``
    if nothing was wrong at either: a failure has often left its mark in the weights and in the
    optimiser's moments before a detector sees it.  If it rolls back by itself (``rolls_back``), a signal
    saves nothing out of turn, nor does the clock, because an interrupted run would otherwise roll back to another
    iteration than an uninterrupted one; the records that it may roll back are noted.

    ``start`` is what this rank has found the run to go on from; all of ``ranks`` have to find the same.
    ``writer`` is of the run's record, None on a rank that does not write; ``saves`` is told how it went.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        every: int,
        num_iterations: int,
        every_seconds: float | None = None,
        is_good: Callable[[], bool] | None = None,
        rolls_back: bool = False,
        ranks: Ranks | None = None,
        start: object = None,
        writer: MetricsWriter | None = None,
        finiteness: Finiteness | None = None,
        saves: Saves | None = None,
    ) -> None:
        self.folder = folder
        self.path = folder.checkpoint_path
        self.previous_path = folder.previous_checkpoint_path
        self.good_path = folder.good_checkpoint_path
        self.confirmed_path = folder.confirmed_path
        self.every = every
        self.every_seconds = every_seconds
        self._saved_at = monotonic()
        self.num_iterations = num_iterations
        self.is_good = is_good
        self.rolls_back = rolls_back
        self.ranks = ranks or Ranks()
        self.start = start
        self.writer = writer
        self.finiteness = finiteness
        self.saves = saves or Saves()
        self.iteration = self.last_iteration = 0  # now, and of last.ckpt
        self.last_is_good = False  # last.ckpt, or what is being saved
        self.record: Mark | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # Each has looked for itself, before they could speak; on another machine it may have seen an older state.
        self.ranks.check_agreement(
            "where the run goes on from (its iteration, and how often it was rolled back)",
            self.start,
            remedy="all of them have to see the same run folder; give the same command again",
        )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.rolls_back and not self.confirmed_path.exists():
            write_sealed(self.confirmed_path, {"iteration": 0})

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        self.iteration = int(pl_module.iteration)  # type: ignore[arg-type]
        is_due = self.iteration % self.every == 0 or self.iteration == self.num_iterations
        if self._is_late() or is_due:
            self.save(trainer)

    def _is_late(self) -> bool:
        if self.every_seconds is None or self.rolls_back:
            return False
        return self.ranks.of_first(monotonic() - self._saved_at >= self.every_seconds)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        # Both are raised between two iterations, so what is saved is whole.
        told = isinstance(exception, SIGTERMException) and not self.rolls_back
        if told or isinstance(exception, EvaluationStop):
            self.iteration = int(pl_module.iteration)  # type: ignore[arg-type]
            self.save(trainer)

    def save(self, trainer: Trainer) -> bool:
        """Write the checkpoint; False where the disk did not take it.  All ranks come here.

        Raises:
            NotFiniteError: of what is to be saved something is not finite.
        """
        if self.finiteness is not None:
            self.finiteness.check(trainer)
        self._saved_at = monotonic()  # of one that fails too: a full disk is not asked at every iteration
        before = self.last_is_good
        self.last_is_good = self.is_good is not None and self.is_good()
        problem = self._prepare(trainer) or self._write(trainer, last_was_good=before)
        if problem is None:
            self.saves.succeeded(self.iteration)
            return True
        self.last_is_good = before
        log.warning("checkpoint not written, the last one is kept: %s (%s)", problem, self.path)
        self.saves.failed(self.iteration, f"{problem} ({self.path.parent})")
        return False

    def state_dict(self) -> dict[str, Any]:
        record = None if self.record is None else asdict(self.record)
        return {"good": self.last_is_good, "iteration": self.iteration, "record": record}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.last_is_good = state_dict["good"]
        self.last_iteration = state_dict["iteration"]

    def _prepare(self, trainer: Trainer) -> str | None:
        """Make room, and bring the record to the disk; what kept the first rank from it, on all of them."""
        problem = None
        if trainer.is_global_zero:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.record = None if self.writer is None else self.writer.mark()
            except OSError as error:
                problem = str(error)
        return self.ranks.gather(problem)[0]

    def _write(self, trainer: Trainer, *, last_was_good: bool) -> str | None:
        """Lightning's own save, and the rest of it; what kept the first rank from it, on all of them.

        The ranks meet at the end of Lightning's, also the one whose disk failed it.
        """
        unfinished = self.path.with_suffix(".unfinished")
        problem, has_met = None, False
        try:
            trainer.save_checkpoint(unfinished)
            has_met = True
            if trainer.is_global_zero:
                self._put(unfinished, last_was_good=last_was_good)
        except OSError as error:
            problem = str(error)
            unfinished.unlink(missing_ok=True)
            if trainer.is_global_zero:
                drop_unnamed(self.folder)  # all ranks have written their shares, or none will
            if not has_met:
                trainer.strategy.barrier("where the ranks meet that had nothing to write")
        return self.ranks.gather(problem)[0]

    def _put(self, unfinished: Path, *, last_was_good: bool) -> None:
        """The new checkpoint in the place of the last, which becomes the good one where it has proved itself."""
        is_proved = self.last_is_good and last_was_good and self.path.exists()
        if self.path.exists():
            keep(self.path, self.previous_path)
        if is_proved:
            keep(self.path, self.good_path)
        unfinished.replace(self.path)
        sync_folder(self.path.parent)
        drop_unnamed(self.folder)
        if is_proved and self.rolls_back:
            write_sealed(self.confirmed_path, {"iteration": self.last_iteration})
        self.last_iteration = self.iteration
