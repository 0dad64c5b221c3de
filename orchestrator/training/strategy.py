"""The Lightning strategy that spreads a run over its ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch.optim import Optimizer

from orchestrator.configuration.learner import LearnerConfig
from orchestrator.training.ranks import Ranks
from orchestrator.training.shares import read_shares, write_shares


class ShareStrategy(ModelParallelStrategy):
    """FSDP2, whose ranks save and load their own shares; Lightning's would hold all of a checkpoint in one of them.

    The checkpoint is otherwise that of a single process, so either goes on from the other's.
    """

    lightning_restore_optimizer = True

    def __init__(self, ranks: Ranks) -> None:
        super().__init__(data_parallel_size=ranks.size, tensor_parallel_size=1)
        self.ranks = ranks

    def lightning_module_state_dict(self) -> dict[str, Any]:
        assert self.lightning_module is not None
        return self.lightning_module.state_dict(keep_vars=True)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        return optimizer.state_dict()

    def load_model_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super(ModelParallelStrategy, self).load_model_state_dict(*args, **kwargs)

    def load_optimizer_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super(ModelParallelStrategy, self).load_optimizer_state_dict(*args, **kwargs)

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        rest = write_shares(checkpoint, Path(filepath), self.ranks)
        if self.is_global_zero:
            self.checkpoint_io.save_checkpoint(rest, filepath, storage_options=storage_options)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        (optimizer,) = self.optimizers
        trained = [weight for group in optimizer.param_groups for weight in group["params"]]
        return read_shares(Path(checkpoint_path), self.lightning_module_state_dict(), trained)


def strategy_of(settings: LearnerConfig, ranks: Ranks) -> Strategy | str:
    """The strategy of ``learner.strategy``; a single process has nothing to spread."""
    if ranks.size == 1:
        return "auto"
    return ShareStrategy(ranks) if settings.strategy == "fsdp2" else DDPStrategy()


def environment_of(ranks: Ranks) -> ClusterEnvironment:
    """The environment that describes the ranks to each other: always variables with torchrun's names.

    Left to guess, Lightning takes any process inside a SLURM job for one of SLURM's tasks, and requeues the
    job itself with a checkpoint of its own.
    """
    return LightningEnvironment() if ranks.size == 1 else TorchElasticEnvironment()
