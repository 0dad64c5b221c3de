"""Executes runs: in processes of this machine, on a Ray cluster, or on a SLURM cluster."""

from __future__ import annotations

from orchestrator.execution.base import Executor
from orchestrator.execution.local import Local
from orchestrator.execution.ray_cluster import RayCluster
from orchestrator.execution.slurm import Slurm

EXECUTORS: dict[str, type[Executor]] = {part.kind: part for part in (Local, RayCluster, Slurm)}
