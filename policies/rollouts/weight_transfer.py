"""Transfers the policy's weights to servers through a disk that they see too: whole, or an adapter alone."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from policies.model.saving import save_adapters
from policies.rollouts.base import EngineUnavailableError
from policies.rollouts.replica import Replica, ask_all
from policies.rollouts.weights import save_weights

if TYPE_CHECKING:
    from policies.model.loading import LoadedPolicy

ADAPTER = "policy"
"""Name of the adapter in a server."""

Lost = dict[Replica, EngineUnavailableError]
"""Servers that did not take the weights, and what is wrong with each."""


class Transfer(ABC):
    """One way for weights to reach servers, which sample none of the policy's ``masked_ids`` from then on."""

    model: str | None = None
    """What a request asks for; None is what the server was started with."""

    def __init__(self, policy: LoadedPolicy, folder: Path) -> None:
        self.policy = policy
        self.folder = folder

    @abstractmethod
    def push(self, replicas: Sequence[Replica], label: str) -> Lost:
        """Give the weights of now to all servers at the same time, and call them ``label`` there.

        Every rank calls it; when it returns, all servers have taken them but those that are returned.
        """

    @abstractmethod
    def push_again(self, replica: Replica, label: str) -> None:
        """Give a server that was restarted what the last push gave; one rank can do it alone.

        Raises:
            EngineUnavailableError: it does not take them.
        """

    def close(self) -> None:  # noqa: B027
        """Let go of the servers."""


class DiskTransfer(Transfer):
    """One rank writes, servers read; a server can read again whenever it has to."""

    def push(self, replicas: Sequence[Replica], label: str) -> Lost:
        lost: Lost = {}
        self._write(write=rank() == 0)
        barrier()  # written, before anybody reads it
        if rank() == 0:
            for replica, outcome in ask_all(replicas, lambda replica: self.push_again(replica, label)):
                if isinstance(outcome, EngineUnavailableError):
                    lost[replica] = outcome
                elif isinstance(outcome, Exception):
                    raise outcome
        barrier()  # taken, before anybody asks
        return lost

    @abstractmethod
    def _write(self, *, write: bool) -> None:
        """Put the weights on the disk; every rank gathers, and the one that has ``write`` writes."""


class FolderTransfer(DiskTransfer):
    """A model folder, which servers load in place."""

    def _write(self, *, write: bool) -> None:
        save_weights(self.policy, self.folder, write=write)

    def push_again(self, replica: Replica, label: str) -> None:
        # Requests that were given up may still be running.
        replica.post("/pause?mode=abort")
        masked = [list(self.policy.masked_ids)] if self.policy.masked_ids else []
        replica.post("/collective_rpc", {"method": "push_folder", "args": [str(self.folder), *masked]})
        replica.post("/reset_prefix_cache")
        replica.post("/update_weight_version", {"new_version": label})
        replica.post("/resume")


class AdapterTransfer(DiskTransfer):
    """The LoRA adapter alone: the light way for a large model."""

    model = ADAPTER

    def _write(self, *, write: bool) -> None:
        if write:
            shutil.rmtree(self.folder, ignore_errors=True)
        save_adapters(self.policy.model, self.folder, write=write)

    def push_again(self, replica: Replica, label: str) -> None:
        adapter = {"lora_name": ADAPTER, "lora_path": str(self.folder), "load_inplace": True}
        replica.post("/v1/load_lora_adapter", adapter)
        if masked := list(self.policy.masked_ids):
            replica.post("/collective_rpc", {"method": "mask_ids", "args": [masked]})
        replica.post("/reset_prefix_cache")
        replica.post("/update_weight_version", {"new_version": label})


def rank() -> int:
    """Rank of this process among those that train together; 0 if it is alone."""
    return torch.distributed.get_rank() if _several() else 0


def barrier() -> None:
    """Wait for the other ranks, if there are any."""
    if _several():
        torch.distributed.barrier()


def _several() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
