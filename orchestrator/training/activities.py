"""Tells what a run is at while Lightning trains it: its iterations, its evaluations, the end."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from orchestrator.configuration.evaluation import sets_of
from orchestrator.configuration.models import RunConfig
from orchestrator.storage.activity import Activity, Tell


class Activities(Callback):
    """Stands before the evaluator among the callbacks, so that an evaluation is told before it is held.

    The evaluator says by `evaluate` how far it is.
    """

    def __init__(self, config: RunConfig, tell: Tell) -> None:
        self.num_iterations = last = config.learner.iterations
        paces = {settings.every for settings, _ in sets_of(config.evaluation, config.task).values()}
        self.evaluated_after = sorted({0, last}.union(*(range(0, last, every) for every in paces)))
        self.tell = tell
        self.evaluation = Activity(name="evaluation")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._finished(pl_module):
            self._tell_evaluation(0)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        self.tell(Activity(name="iteration", done=self._finished(pl_module), total=self.num_iterations))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        finished = self._finished(pl_module)
        if finished in self.evaluated_after:
            self._tell_evaluation(finished)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.tell(Activity(name="saving"))

    def _tell_evaluation(self, finished: int) -> None:
        """One of any set; the first is held before any update, and the last after the last one."""
        done = bisect_right(self.evaluated_after, finished)
        self.evaluation = Activity(name="evaluation", done=done, total=len(self.evaluated_after))
        self.tell(self.evaluation)

    def evaluate(self, share: float) -> None:
        """Tell how much of the evaluation that was told last is done, from 0 to 1."""
        self.tell(replace(self.evaluation, share=share))

    @staticmethod
    def _finished(module: LightningModule) -> int:
        return int(module.iteration)  # type: ignore[arg-type]
