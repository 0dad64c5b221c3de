"""The processes that train one run together, and the share of the work that each does.

Every rank holds the whole batch: a few numbers a token, gathered once an iteration.  Everything that is decided
over a batch (readings, advantages, selections, weights) is computed on all of it by every rank, as one
process would.  Commands and guardrails go by the readings of the first rank, since those of another kind of device
may differ in the last bit.  Only costly work is divided: sampling, grading, forward and backward.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import TypeVar, cast

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from policies.model.loading import LoadedPolicy
from policies.statistics.micro_batches import MicroBatches, Pieces
from policies.statistics.response_statistics import Statistics, View, observe_pieces
from policies.statistics.sequences import Sequences

PATIENCE = timedelta(hours=6)
"""How long a rank waits for the rollouts of the others; one that died is noticed at once."""

STALL = timedelta(minutes=30)
"""How long it waits inside an update or a save, where all of them have the same to do."""

SAME_SOFTWARE = "all of them have to run the same software on the same kind of device"

Value = TypeVar("Value")


class RankLostError(RuntimeError):
    """Another rank has died, or does not answer."""


class RanksDisagreeError(RuntimeError):
    """Ranks came to different results where they must come to the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """Number ``rank`` of ``size`` processes; by default the only one."""

    rank: int = 0
    size: int = 1
    line: str = "main"
    """Over which they speak to each other; two threads of a rank must not share one."""

    @classmethod
    def of_environment(cls) -> Ranks:
        """As `orchestrator.training.launcher`, torchrun or the scripts of ``configs/launch`` say."""
        return cls(rank=int(os.environ.get("RANK", 0)), size=int(os.environ.get("WORLD_SIZE", 1)))

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes: metrics, checkpoints, status."""
        return self.rank == 0

    def connect(self, device: torch.device) -> None:
        """Let the ranks speak to each other, before anything is loaded; nothing where they do already.  All have to call it.

        Lightning would do the same, but only after the policy is there.
        """
        if self.size == 1 or dist.is_initialized():
            return
        on_cuda = device.type == "cuda"
        if on_cuda:
            torch.cuda.set_device(device)
            atexit.register(_disconnect)  # which NCCL asks for
        dist.init_process_group(
            "nccl" if on_cuda else "gloo",
            rank=self.rank,
            world_size=self.size,
            timeout=STALL,
            device_id=device if on_cuda else None,
        )

    def mesh(self, device: torch.device) -> DeviceMesh:
        """The ranks in a row, for a policy that is spread over their devices.  All have to call it."""
        return init_device_mesh(device.type, (self.size,), mesh_dim_names=("data_parallel",))

    @property
    def group(self) -> dist.ProcessGroup | None:
        """The ranks as torch knows them, on the CPU; None of a single one."""
        return None if self.size == 1 else _group(self.line)

    def apart(self, line: str) -> Ranks:
        """The same ranks with a line of their own, for another thread.  All have to call it, at the same place."""
        if self.size > 1:
            _group(line)  # formed here, and not in that thread
        return replace(self, line=line)

    def gather_done(
        self, work: Callable[[], Value], *, faults: tuple[type[Exception], ...] = (OSError,)
    ) -> list[Value]:
        """What some work gives on every rank, on all of them.  All have to call it.

        Raises:
            OSError: that of the first rank on which a file could not be read or written, on all of them; or another
                of ``faults``.
        """
        try:
            mine: tuple[Value | None, Exception | None] = (work(), None)
        except faults as error:
            mine = (None, error)
        parts = self.gather(mine)
        for _, problem in parts:
            if problem is not None:
                raise problem
        return [cast(Value, value) for value, _ in parts]

    def gather(self, value: Value) -> list[Value]:
        """What every rank has, on all of them, in their order.  All have to call it."""
        if self.size == 1:
            return [value]
        values: list[Value] = [value] * self.size
        with _naming_lost_ranks():
            dist.all_gather_object(values, value, group=_group(self.line))
        return values

    def of_first(self, value: Value) -> Value:
        """What the first rank has, on all of them: it decides where ranks could differ.  All have to call it."""
        if self.size == 1:
            return value
        values = [value]
        with _naming_lost_ranks():
            dist.broadcast_object_list(values, src=0, group=_group(self.line))
        return values[0]

    def check_agreement(self, what: str, value: object, remedy: str = SAME_SOFTWARE) -> None:
        """Make sure that all ranks have the same.

        Raises:
            RanksDisagreeError: they have not.
        """
        values = self.gather(value)
        if any(other != values[0] for other in values):
            listed = "; ".join(f"rank {rank} has {other}" for rank, other in enumerate(values))
            raise RanksDisagreeError(f"the ranks do not agree about {what}: {listed}; {remedy}")

    def share(self, num_items: int) -> range:
        """The slice of some items that is this rank's; shares differ by at most one item."""
        start, end = (num_items * rank // self.size for rank in (self.rank, self.rank + 1))
        return range(start, end)

    def pieces(self, sequences: Sequences, cut: MicroBatches) -> list[tuple[Tensor, bool]]:
        """This rank's pieces, and whether each counts.

        Every rank gets as many pieces as any other, since a sharded model runs on all of them or none.  One
        that has nothing left is given a row of another's, and must not count it.
        """
        return self._filled(cut.of_ranks(sequences, self.size))

    def _filled(self, shares: list[Pieces]) -> list[tuple[Tensor, bool]]:
        mine = [(rows, True) for rows in shares[self.rank]]
        most = max(map(len, shares))
        return mine + [(torch.zeros(1, dtype=torch.int64), False)] * (most - len(mine))

    def observe(
        self,
        policy: LoadedPolicy,
        sequences: Sequences,
        view: View,
        *,
        cut: MicroBatches,
        scale: Tensor | None = None,
    ) -> Statistics:
        """`policies.statistics.response_statistics.observe`, each rank its share, and all of it on every rank."""
        shares = cut.of_ranks(sequences, self.size)
        pieces = [rows for rows, _ in self._filled(shares)]
        seen = observe_pieces(policy.model, sequences, view, pieces, scale)
        if self.size == 1:
            return seen
        tokens = [sequences.tokens_of(torch.cat([torch.arange(0), *share])) for share in shares]
        parts = self.gather(seen.at(tokens[self.rank]).to("cpu"))
        return Statistics.assembled(tokens, parts).to(policy.model.device)


@contextmanager
def _naming_lost_ranks() -> Iterator[None]:
    """What gloo says of a connection says of the run."""
    try:
        yield
    except RuntimeError as error:
        raise RankLostError(
            f"another rank has died or has not answered for {PATIENCE}; see the log for the first that failed; the same "
            f"command goes on from the last checkpoint ({str(error).splitlines()[0]})"
        ) from error


def _disconnect() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


@cache
def _group(line: str) -> dist.ProcessGroup:
    """The group of all ranks, on the CPU: the gathered data is small and mostly on the CPU already."""
    group: dist.ProcessGroup = dist.new_group(backend="gloo", timeout=PATIENCE)
    return group
