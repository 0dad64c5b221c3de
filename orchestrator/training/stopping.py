"""Stops a run on request: between two iterations, on all ranks at the same one, with a checkpoint."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from orchestrator.training.ranks import Ranks


class Stopping(Callback):
    """Notes a SIGTERM while the run trains; the ranks stop when one of them has noted one.

    Lightning's own handler is kept out: it calls a collective from inside the handler, wherever the rank
    is at that moment, and ranks that are not at the same place wait for one another for ever.
    """

    def __init__(self, ranks: Ranks, num_iterations: int) -> None:
        self.ranks = ranks
        self.num_iterations = num_iterations
        self.told = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # Lightning sets its handler after this

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        signal.signal(signal.SIGTERM, self._note)  # Lightning puts the one before its own back at the end
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        is_last = int(pl_module.iteration) == self.num_iterations  # type: ignore[arg-type]
        if any(self.ranks.gather(self.told)) and not is_last:
            raise SIGTERMException

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])

    def _note(self, _: int, __: FrameType | None) -> None:
        self.told = True


@contextmanager
def stop_on_signals(ranks: Ranks) -> Iterator[None]:
    """SIGTERM and Ctrl-C end this block as `SIGTERMException`: at once, but for the time of `Stopping`.

    One of several ranks just dies of a SIGTERM outside that time: it may wait for another inside a library,
    where no handler of ours runs.  Ctrl-C is left to their launcher.
    """

    def stop(signum: int, _: FrameType | None) -> None:
        if signal.getsignal(signal.SIGTERM) is stop:
            raise SIGTERMException
        if signum == signal.SIGINT:
            os.kill(os.getpid(), signal.SIGTERM)

    alone = {signal.SIGTERM: stop, signal.SIGINT: stop}
    together = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.SIG_IGN}
    handlers = alone if ranks.size == 1 else together
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
