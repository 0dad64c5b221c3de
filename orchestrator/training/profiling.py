"""Traces of some iterations by torch's profiler, for https://ui.perfetto.dev or chrome://tracing."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch.profiler import ProfilerActivity, profile


class Profiling(pl.Callback):
    """Writes ``iteration_<n>.json`` for each of ``iterations``: what ran on the CPU, and on CUDA where there is one.

    An iteration that is profiled takes longer, so its clocks are not those of its neighbours.
    """

    def __init__(self, iterations: Collection[int], folder: Path) -> None:
        self.iterations = frozenset(iterations)
        self.folder = folder
        self._profile: profile | None = None

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if pl_module.iteration in self.iterations:
            on_cuda = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
            self._profile = profile(activities=[ProfilerActivity.CPU, *on_cuda], record_shapes=True)
            self._profile.start()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if self._profile is None:
            return
        self._profile.stop()
        self.folder.mkdir(exist_ok=True)
        # The learner counts an iteration once it is finished.
        finished = int(pl_module.iteration) - 1  # type: ignore[arg-type]
        self._profile.export_chrome_trace(str(self.folder / f"iteration_{finished}.json"))
        self._profile = None

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if self._profile is not None:
            self._profile.stop()
            self._profile = None
