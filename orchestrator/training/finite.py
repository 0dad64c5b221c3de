"""Checks that the results of training are finite, and ends the run before it saves any that are not."""

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
from policies.finite_weights import count_not_finite

MOST_NAMED = 3


class NotFiniteError(TrainingDivergedError):
    """Weights, the optimiser's state or that of a loop is not finite; all ranks say so together."""


class Finiteness(Callback):
    """Checks weights, optimiser and loops after every iteration, before they are saved or evaluated."""

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
        mine = dict(_of_model(module, trainer.optimizers))
        parts = self._ranks.gather((mine, _num_of_loops(self._control.state_dict())))
        together = sum if any(isinstance(weight, DTensor) for weight in module.parameters()) else max
        names = dict.fromkeys(name for counts, _ in parts for name in counts)
        numbers = {name: together(counts.get(name, 0) for counts, _ in parts) for name in names}
        numbers["the state of the loops"] = max(number for _, number in parts)
        found = [f"{name} ({n:,} number{'s' if n > 1 else ''})" for name, n in numbers.items() if n]
        if found:
            more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
            iteration = int(module.iteration) - 1  # type: ignore[arg-type]
            raise NotFiniteError(
                f"after iteration {iteration} these are not finite: {', '.join(found[:MOST_NAMED])}{more}; nothing of "
                "that is saved; lower learner.learning_rate or the limits of a loop"
            )


def _of_model(
    module: LightningModule, optimizers: Sequence[torch.optim.Optimizer]
) -> Iterator[tuple[str, int]]:
    """What has numbers that are not finite, and how many: weights, and what the optimiser keeps of them; this rank's share."""
    names: dict[Tensor, str] = {
        weight: name for name, weight in module.named_parameters() if weight.requires_grad
    }
    for weight, name in names.items():
        if number := count_not_finite(weight):
            yield f"the weights {name}", number
    for optimizer in optimizers:
        for owner, state in optimizer.state.items():
            for key, value in state.items():
                if isinstance(value, Tensor) and (number := count_not_finite(value)):
                    yield f"{key} of the optimiser for {names.get(owner, 'a weight')}", number


def _num_of_loops(state: dict[str, Any]) -> int:
    return sum(not math.isfinite(each) for each in (*_numbers(state["loops"]), *state["commands"].values()))


def _numbers(state: State) -> Iterator[float]:
    for item in state:
        if isinstance(item, tuple):
            yield from _numbers(item)
        else:
            yield item
