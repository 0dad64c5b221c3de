"""The ranks whose GPUs hold one engine together, by tensor parallelism."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

from torch import distributed as dist

PATIENCE = timedelta(hours=6)
"""How long a rank waits for the replies of the others' tasks; one that died is noticed at once."""

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class EngineGroup:
    """Ranks that follow each other and sample as one: each of them runs its part of the engine for the prompts of all.

    So all have to sample equally often, and their prompts in the same order.  A rank that asks for less than the
    others stays until they are done.
    """

    def __init__(self, size: int = 1) -> None:
        """Form the groups of ``size`` ranks; all ranks of the run do it together."""
        self.size = size
        self._group: dist.ProcessGroup | None = None
        if size > 1:
            self._group, _ = dist.new_subgroups(size, backend="gloo", timeout=PATIENCE)  # type: ignore[no-untyped-call]

    def ask(
        self, requests: Sequence[Request], sample: Callable[[list[Request]], list[Answer]]
    ) -> list[Answer]:
        """The answers to the requests of this rank, sampled with those of the others."""
        shares = self._gather(list(requests))
        rank = dist.get_rank(self._group) if self._group else 0
        start = sum(len(share or ()) for share in shares[:rank])
        return _sample(shares, sample)[start : start + len(requests)]

    def stay(self, sample: Callable[[list[Request]], list[Answer]]) -> None:
        """Sample what the others still ask for, until no rank asks for anything any more."""
        shares: list[list[Request] | None] = self._gather(None)
        while any(share is not None for share in shares):
            _sample(shares, sample)
            shares = self._gather(None)

    def _gather(self, share: list[Request] | None) -> list[list[Request] | None]:
        if self._group is None:
            return [share]
        shares: list[list[Request] | None] = [None] * self.size
        dist.all_gather_object(shares, share, group=self._group)
        return shares


def _sample(
    shares: Sequence[list[Request] | None], sample: Callable[[list[Request]], list[Answer]]
) -> list[Answer]:
    requests = [request for share in shares for request in share or ()]
    return sample(requests) if requests else []
