"""A policy small enough that a test makes it in a second, shared by all tests of a session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from random import Random

import pytest
import torch
from torch import distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from policies.model.built_in import built_in
from policies.model.loading import LoadedPolicy
from policies.model.tiny import TinyModel
from policies.model.warm_start import Demonstrations, WarmStart
from tasks.kinds.arithmetic import Arithmetic

ARCHITECTURE = TinyModel(hidden_size=32, intermediate_size=64, num_layers=1, num_heads=1, max_tokens=64)
START = WarmStart(num_steps=30, batch_size=32)
TASK = Arithmetic(num_digits=1)


@pytest.fixture(scope="session")
def demonstrations_with() -> Callable[[float], Demonstrations]:
    """Batches of 32 sums, each digit wrong with the given error rate."""

    def demonstrations(error_rate: float, batch: int) -> list[tuple[str, str]]:
        problems = [TASK.problem("train", batch, i) for i in range(32)]
        rng = Random(batch)
        return [(problem.prompt, TASK.demonstrate(problem, rng, error_rate)) for problem in problems]

    return lambda error_rate: partial(demonstrations, error_rate)


@pytest.fixture(scope="session")
def make_policy(_private_cache, demonstrations_with) -> Callable[[], LoadedPolicy]:
    """A warm-started policy of a test's own; the first call makes it, the others load it."""
    torch.set_num_threads(1)
    return lambda: built_in(ARCHITECTURE, START, TASK.alphabet(), demonstrations_with(0.2))


@pytest.fixture
def policy(make_policy) -> LoadedPolicy:
    return make_policy()


@pytest.fixture
def mesh() -> Iterator[DeviceMesh]:
    """One rank, this process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()
