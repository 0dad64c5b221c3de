"""The GPUs of this machine: which there are, and which of them each run has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

from orchestrator.execution.base import Job

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them; a value that is set already counts.

    CUDA reads that value no further than the first that is no device, so there are as many as torch counts.
    """
    if torch_is_cpu_build():
        return ()
    import torch

    number, named = torch.cuda.device_count(), os.environ.get(VISIBLE)
    names = range(number) if named is None else [name.strip() for name in named.split(",")]
    return tuple(map(str, names[:number]))


def torch_is_cpu_build() -> bool:
    """Whether torch has no GPU to count, as its version says without an import."""
    return version("torch").endswith("+cpu")


def share_of_slot(gpus: Sequence[str], slot: int, num_slots: int, least: int = 1) -> tuple[str, ...]:
    """GPUs of one of some workers at the same time: all are dealt, and one serves several only if they are too few.

    Args:
        gpus: those that there are.
        slot: number of the worker, from 0.
        num_slots: how many work at the same time.
        least: GPUs that each of its runs needs.
    """
    if len(gpus) < least:
        return ()
    if len(gpus) >= num_slots * least:
        first, end = (len(gpus) * number // num_slots for number in (slot, slot + 1))
        return tuple(gpus[first:end])
    return tuple(gpus[(slot * least + number) % len(gpus)] for number in range(least))


def device_setting(gpus: Sequence[str]) -> dict[str, str]:
    """The environment of a process that has these GPUs alone; nothing where it has none."""
    return {VISIBLE: ",".join(gpus)} if gpus else {}


@dataclass(slots=True, kw_only=True)
class GpuDesk:
    """Lends GPUs to runs: each gets those that the fewest others have."""

    gpus: tuple[str, ...] = field(default_factory=visible_gpus)
    lent: list[tuple[Job, tuple[str, ...]]] = field(default_factory=list)

    def choose(self, number: int) -> tuple[str, ...]:
        """GPUs for a run that takes so many; none where there are not so many, which the run then says."""
        if number > len(self.gpus):
            return ()
        self.lent = [(job, taken) for job, taken in self.lent if job.ended() is None]
        users = {gpu: sum(gpu in taken for _, taken in self.lent) for gpu in self.gpus}
        least = sorted(self.gpus, key=lambda gpu: users[gpu])[:number]  # stable: else in their own order
        return tuple(gpu for gpu in self.gpus if gpu in least)

    def lend(self, gpus: tuple[str, ...], job: Job) -> None:
        """Note that a run has them until it ends."""
        self.lent.append((job, gpus))
