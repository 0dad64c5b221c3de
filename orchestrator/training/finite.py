"""What training has made must be finite, or a run ends before any of it is kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.distributed.tensor import DTensor

from controllers.base import State
from orchestrator.training.entropy_control import EntropyControl
from orchestrator.training.ranks import Ranks
from orchestrator.training.update import TrainingDivergedError

MOST_NAMED = 3


class NotFiniteError(TrainingDivergedError):
    """Weights, the optimiser's state or that of a loop is not finite; all ranks say so together."""


class Finiteness(Callback):
    """Looks at weights, optimiser and loops after every iteration, before anything of it is saved or examined."""

    def __init__(self, control: EntropyControl, ranks: Ranks) -> None:
        self._control = control
        self._ranks = ranks

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        self.check(trainer)

    def check(self, trainer: Trainer) -> None:
        """Make sure that all is finite.

        Raises:
            NotFiniteError: it is not, on this rank or another.
        """
        module = trainer.lightning_module
        mine = [*_of_model(module, trainer.optimizers), *_of_loops(self._control.state_dict())]
        found = list(dict.fromkeys(name for names in self._ranks.gather(mine) for name in names))
        if found:
            more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
            iteration = int(module.iteration) - 1  # type: ignore[arg-type]
            raise NotFiniteError(
                f"after iteration {iteration} these are not finite: {', '.join(found[:MOST_NAMED])}{more}; nothing of "
                "that is saved; lower learner.learning_rate or the limits of a loop"
            )


def _of_model(module: LightningModule, optimizers: Sequence[torch.optim.Optimizer]) -> Iterator[str]:
    """Names of what is not finite of this rank's share of the weights, and of what the optimiser keeps of them."""
    names: dict[Tensor, str] = {
        weight: name for name, weight in module.named_parameters() if weight.requires_grad
    }
    for weight, name in names.items():
        if not _is_finite(weight):
            yield f"the weights {name}"
    for optimizer in optimizers:
        for owner, state in optimizer.state.items():
            for key, value in state.items():
                if isinstance(value, Tensor) and not _is_finite(value):
                    yield f"{key} of the optimiser for {names.get(owner, 'a weight')}"


def _of_loops(state: dict[str, Any]) -> Iterator[str]:
    if not all(map(math.isfinite, [*_numbers(state["loops"]), *state["commands"].values()])):
        yield "the state of the loops"


def _numbers(state: State) -> Iterator[float]:
    for item in state:
        if isinstance(item, tuple):
            yield from _numbers(item)
        else:
            yield item


def _is_finite(value: Tensor) -> bool:
    own = value.detach()
    own = own.to_local() if isinstance(own, DTensor) else own  # of a sharded one, what is here
    return not own.is_floating_point() or bool(torch.isfinite(own).all())
