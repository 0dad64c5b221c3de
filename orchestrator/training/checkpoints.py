"""Checkpoints of a run: written whole or not at all, and found again."""

from __future__ import annotations

import logging
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

log = logging.getLogger(__name__)


class Checkpointer(Callback):
    """Saves ``last.ckpt`` every so many iterations and at the end, by writing beside it and renaming.

    A disk that is full costs the new checkpoint, never the old one, and the run goes on: it says so,
    and tries again at the next turn.
    """

    def __init__(self, path: Path, *, every: int, num_iterations: int) -> None:
        self.path = path
        self.every = every
        self.num_iterations = num_iterations

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        iteration = int(pl_module.iteration)  # type: ignore[arg-type]
        if iteration % self.every == 0 or iteration == self.num_iterations:
            self.save(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        # Lightning raises this between two iterations, so what is saved is whole.
        if isinstance(exception, SIGTERMException):
            self.save(trainer)

    def save(self, trainer: Trainer) -> bool:
        """Write the checkpoint; False where the disk did not take it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".unfinished")
        try:
            trainer.save_checkpoint(unfinished)
            if trainer.is_global_zero:
                unfinished.replace(self.path)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            if isinstance(error, RuntimeError) and "write" not in str(error).lower():
                raise
            trainer.strategy.barrier("where the ranks meet that had nothing to write")
            unfinished.unlink(missing_ok=True)
            log.warning("checkpoint not written, the last one is kept: %s (%s)", error, self.path)
            return False
        return True
