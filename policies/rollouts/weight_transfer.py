"""Transfers the policy's weights to a server: through a shared folder, as an adapter, or over NCCL."""

from __future__ import annotations

import shutil
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from policies.model.saving import save_adapters
from policies.rollouts.replica import Replica
from policies.rollouts.weights import save_weights, whole_weights

if TYPE_CHECKING:
    from policies.model.loading import LoadedPolicy

ADAPTER = "policy"
"""Name of the adapter in a server."""


class Transfer(ABC):
    """One way to push.  ``prepare`` once a push, then ``give`` for each server."""

    model: str | None = None
    """What a request asks for; None is what the server was started with."""

    collective: bool = False
    """Whether every rank has to give; else any one can, and again whenever a server needs it."""

    def __init__(self, policy: LoadedPolicy, folder: Path) -> None:
        self.policy = policy
        self.folder = folder

    @abstractmethod
    def prepare(self, *, write: bool) -> None:
        """Make the weights of now ready; called by every rank, of which one has ``write``."""

    @abstractmethod
    def give(self, replica: Replica, label: str) -> None:
        """Let a server take them and call them ``label``, and sample none of the policy's ``masked_ids``."""

    def _mask(self, replica: Replica) -> None:
        """What `push_folder` says in the same breath."""
        if masked := list(self.policy.masked_ids):
            replica.post("/collective_rpc", {"method": "mask_ids", "args": [masked]})


class FolderTransfer(Transfer):
    """A model folder on a disk that servers see too; they load it in place."""

    def prepare(self, *, write: bool) -> None:
        save_weights(self.policy, self.folder, write=write)

    def give(self, replica: Replica, label: str) -> None:
        # Requests that were given up may still be running.
        replica.post("/pause?mode=abort")
        masked = [list(self.policy.masked_ids)] if self.policy.masked_ids else []
        replica.post("/collective_rpc", {"method": "push_folder", "args": [str(self.folder), *masked]})
        replica.post("/reset_prefix_cache")
        replica.post("/update_weight_version", {"new_version": label})
        replica.post("/resume")


class AdapterTransfer(Transfer):
    """The LoRA adapter alone, on a disk that servers see too: the light way for a large model."""

    model = ADAPTER

    def prepare(self, *, write: bool) -> None:
        if write:
            shutil.rmtree(self.folder, ignore_errors=True)
        save_adapters(self.policy.model, self.folder, write=write)

    def give(self, replica: Replica, label: str) -> None:
        adapter = {"lora_name": ADAPTER, "lora_path": str(self.folder), "load_inplace": True}
        replica.post("/v1/load_lora_adapter", adapter)
        self._mask(replica)
        replica.post("/reset_prefix_cache")
        replica.post("/update_weight_version", {"new_version": label})


class NcclTransfer(Transfer):
    """From the learner's GPUs into the servers', through vLLM's weight-transfer interface."""

    collective = True

    def __init__(self, policy: LoadedPolicy, folder: Path) -> None:
        super().__init__(policy, folder)
        self._trainers: dict[str, Any] = {}

    def prepare(self, *, write: bool) -> None:
        if not torch.cuda.is_available():
            raise RuntimeError("transfer 'nccl' needs GPUs; set transfer to 'folder'")

    def give(self, replica: Replica, label: str) -> None:
        if replica.url not in self._trainers:
            self._trainers[replica.url] = self._meet(replica)
        self._trainers[replica.url].send_weights()
        self._mask(replica)
        replica.post("/reset_prefix_cache")
        replica.post("/update_weight_version", {"new_version": label})

    def _meet(self, replica: Replica) -> Any:
        """A process group of this rank 0 and the server's workers."""
        from vllm.distributed.weight_transfer.base import ModuleSource
        from vllm.distributed.weight_transfer.clients import HTTPVLLMWeightSyncClient
        from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory
        from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

        workers = int(replica.get("/get_world_size")["world_size"])
        return WeightTransferTrainerFactory.trainer_init(
            NCCLTrainerInitInfo(
                rank=rank(),
                master_address=socket.gethostbyname(socket.gethostname()),
                master_port=_free_port(),
                world_size=1 + workers,
            ),
            client=HTTPVLLMWeightSyncClient(replica.address.rstrip("/"), timeout=replica.timeout_seconds),
            source=ModuleSource(_Whole(self.policy)),
        )


class _Whole:
    """A policy as vLLM's `ModuleSource` looks at a module: whole weights by the names of a checkpoint."""

    def __init__(self, policy: LoadedPolicy) -> None:
        self.policy = policy

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        return whole_weights(self.policy)


def rank() -> int:
    """Rank of this process among those that train together; 0 if it is alone."""
    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if ready else 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


TRANSFERS: dict[str, type[Transfer]] = {
    "folder": FolderTransfer,
    "adapter": AdapterTransfer,
    "nccl": NcclTransfer,
}
