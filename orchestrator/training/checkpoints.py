"""Checkpoints of a run: written whole or not at all, and found again."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from orchestrator.storage.files import write_json
from orchestrator.storage.run_folder import RunFolder
from orchestrator.training.ranks import Ranks

log = logging.getLogger(__name__)


class Checkpointer(Callback):
    """Saves ``last.ckpt`` every so many iterations and at the end, by writing beside it and renaming.

    A disk that is full costs the new checkpoint, never the old one, and the run goes on: it says so,
    and tries again at the next turn.

    Where a run may go back, for which there is ``is_good``, the one before the last is kept as ``good.ckpt``
    if nothing was wrong at either: a failure that begins has often left its mark in the weights and in the
    optimiser's moments before a detector sees it.  Where it goes back by itself (``rolls_back``) a signal
    saves nothing out of turn, or a run that was interrupted would go back to somewhere else than one that
    was not; and what it may take back is noted.

    ``start`` is what this rank has found the run to go on from; all of ``ranks`` have to find the same.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        every: int,
        num_iterations: int,
        is_good: Callable[[], bool] | None = None,
        rolls_back: bool = False,
        ranks: Ranks | None = None,
        start: object = None,
    ) -> None:
        self.path = folder.checkpoint_path
        self.good_path = folder.good_checkpoint_path
        self.confirmed_path = folder.confirmed_path
        self.every = every
        self.num_iterations = num_iterations
        self.is_good = is_good
        self.rolls_back = rolls_back
        self.ranks = ranks or Ranks()
        self.start = start
        self.iteration = self.last_iteration = 0  # now, and of last.ckpt
        self.last_is_good = False  # last.ckpt, or what is being saved

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # Each has looked for itself, before they could speak; on another machine it may have seen an older state.
        self.ranks.check_agreement(
            "where the run goes on from (its iteration, and how often it was rolled back)",
            self.start,
            remedy="all of them have to see the same run folder; give the same command again",
        )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.rolls_back and not self.confirmed_path.exists():
            write_json(self.confirmed_path, {"iteration": 0})

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        self.iteration = int(pl_module.iteration)  # type: ignore[arg-type]
        if self.iteration % self.every == 0 or self.iteration == self.num_iterations:
            self.save(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        # Lightning raises this between two iterations, so what is saved is whole.
        if isinstance(exception, SIGTERMException) and not self.rolls_back:
            self.save(trainer)

    def save(self, trainer: Trainer) -> bool:
        """Write the checkpoint; False where the disk did not take it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".unfinished")
        before = self.last_is_good
        self.last_is_good = self.is_good is not None and self.is_good()
        try:
            _write(trainer, unfinished)
            if trainer.is_global_zero:  # alone: the ranks have met, and meet no more
                self._put(unfinished, last_was_good=before)
        except (OSError, RuntimeError) as error:
            if not _is_of_the_disk(error):
                raise
            unfinished.unlink(missing_ok=True)
            self.last_is_good = before
            log.warning("checkpoint not written, the last one is kept: %s (%s)", error, self.path)
            return False
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"good": self.last_is_good, "iteration": self.iteration}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.last_is_good = state_dict["good"]
        self.last_iteration = state_dict["iteration"]

    def _put(self, unfinished: Path, *, last_was_good: bool) -> None:
        """The new checkpoint in the place of the last, which becomes the good one where it has proved itself."""
        is_proved = self.last_is_good and last_was_good and self.path.exists()
        if is_proved:
            _keep(self.path, self.good_path)
        unfinished.replace(self.path)
        if is_proved and self.rolls_back:
            write_json(self.confirmed_path, {"iteration": self.last_iteration})
        self.last_iteration = self.iteration


def _write(trainer: Trainer, path: Path) -> None:
    """Lightning's own, where all ranks meet at the end, also the one whose disk failed it."""
    try:
        trainer.save_checkpoint(path)
    except (OSError, RuntimeError) as error:
        if _is_of_the_disk(error):
            trainer.strategy.barrier("where the ranks meet that had nothing to write")
        raise


def _is_of_the_disk(error: OSError | RuntimeError) -> bool:
    """torch reports a full disk as a RuntimeError."""
    return isinstance(error, OSError) or "write" in str(error).lower()


def _keep(path: Path, good: Path) -> None:
    """A checkpoint under a second name.

    It stays under the first one too: whoever looks for the last checkpoint finds it at any moment, however the
    run was killed, and all of its ranks the same.
    """
    second = good.with_suffix(".unfinished")
    try:
        second.unlink(missing_ok=True)
        try:
            os.link(path, second)
        except OSError:  # a file system without links
            shutil.copyfile(path, second)
        second.replace(good)
    finally:  # half a copy; or left, where both names have been the same file before
        second.unlink(missing_ok=True)
