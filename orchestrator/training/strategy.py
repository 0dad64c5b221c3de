"""The Lightning strategy that spreads a run over its ranks."""

from __future__ import annotations

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy

from orchestrator.configuration.learner import LearnerConfig
from orchestrator.training.ranks import Ranks


def strategy_of(settings: LearnerConfig, ranks: Ranks) -> Strategy | str:
    """The strategy of ``learner.strategy``; a single process has nothing to spread."""
    if ranks.size == 1:
        return "auto"
    if settings.strategy == "fsdp2":
        # One whole file, so that any number of processes can go on from it.
        return ModelParallelStrategy(
            data_parallel_size=ranks.size, tensor_parallel_size=1, save_distributed_checkpoint=False
        )
    return DDPStrategy()


def environment_of(ranks: Ranks) -> ClusterEnvironment:
    """The environment that describes the ranks to each other: always variables with torchrun's names.

    Left to guess, Lightning takes any process inside a SLURM job for one of SLURM's tasks, and requeues the
    job itself with a checkpoint of its own.
    """
    return LightningEnvironment() if ranks.size == 1 else TorchElasticEnvironment()
