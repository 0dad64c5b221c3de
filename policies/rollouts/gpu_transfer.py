"""Transfers the policy's weights from the learner's GPUs into those of servers, through vLLM's own engines."""

from __future__ import annotations

import os
import socket
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import torch

from policies.rollouts.replica import Replica
from policies.rollouts.replica_group import ReplicaGroup, restarted
from policies.rollouts.weight_transfer import Lost, Transfer, barrier, rank
from policies.rollouts.weights import HalfWeights

if TYPE_CHECKING:
    from policies.model.loading import LoadedPolicy


class GpuTransfer(Transfer):
    """Every rank gathers, once a push; the first one sends, bucket by bucket, and all servers receive together.

    The servers have to be there together: with one that is lost the run stops, and the same command goes on.
    """

    backend: str
    """vLLM's name of the transfer."""

    def __init__(self, policy: LoadedPolicy, folder: Path) -> None:
        super().__init__(policy, folder)
        self._weights = HalfWeights(policy)
        self._group: ReplicaGroup | None = None
        self._trainer: Any = None

    def push(self, replicas: Sequence[Replica], label: str) -> Lost:
        if self._group is None:
            self._group = ReplicaGroup(
                replicas, backend=self.backend, masked_ids=self.policy.masked_ids, give_up=self._let_go
            )
        group = self._group
        group.label = label
        try:
            if self._trainer is None:
                check_gpu(self.backend)
                self._trainer = self._meet(group)
            self._trainer.send_weights()
        except Exception as error:
            self._let_go()
            if group.failure is None or group.failure is error:
                raise
            raise group.failure from error
        barrier()  # taken, before anybody asks
        return {}

    def push_again(self, replica: Replica, label: str) -> None:
        raise restarted(replica)

    def close(self) -> None:
        if self._trainer is not None and rank() == 0:
            assert self._group is not None
            self._group.part()
        self._let_go()

    def _let_go(self) -> None:
        """Leave the group; who waits in it is woken."""
        trainer, self._trainer = self._trainer, None
        if trainer is not None:
            trainer.shutdown()

    @abstractmethod
    def _meet(self, group: ReplicaGroup) -> Any:
        """vLLM's trainer engine of this rank, which has met the workers of all servers."""


class NcclTransfer(GpuTransfer):
    """To servers on GPUs of their own, on any machine."""

    backend = "nccl"

    def _meet(self, group: ReplicaGroup) -> Any:
        from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory
        from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

        workers = group.meet() if rank() == 0 else 0  # the other ranks join no group, they only gather
        info = NCCLTrainerInitInfo(
            rank=rank(),
            master_address=address_for([replica.url for replica in group.replicas]),
            master_port=_free_port(),
            world_size=1 + workers,
        )
        return WeightTransferTrainerFactory.trainer_init(info, client=group, source=self._weights)


class IpcTransfer(GpuTransfer):
    """To servers on the learner's own GPUs, which open the memory that the weights are in."""

    backend = "ipc"

    def _meet(self, group: ReplicaGroup) -> Any:
        from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory
        from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

        if rank() == 0:
            group.meet()
        info = IPCTrainerInitInfo(rank=rank(), packed=True)
        return WeightTransferTrainerFactory.trainer_init(info, client=group, source=self._weights)


def check_gpu(transfer: str) -> None:
    """Refuse to go from GPU to GPU without one.

    Raises:
        RuntimeError: there is none.
    """
    if not torch.cuda.is_available():
        raise RuntimeError(f"transfer {transfer!r} needs GPUs; set transfer to 'folder'")


def address_for(urls: Iterable[str]) -> str:
    """The address of this machine that these servers reach it by.

    ``VLLM_HOST_IP``, as vLLM has it, or that of the interface by which the first server on another machine is
    reached; the loopback interface if all are on this one.  No packet is sent.
    """
    if told := os.environ.get("VLLM_HOST_IP"):
        return told
    own = [_interface_to(url) for url in urls]
    return next((address for address in own if not address.startswith("127.") and address != "::1"), own[0])


def _interface_to(url: str) -> str:
    parts = urlsplit(url)
    family, kind, _, _, address = socket.getaddrinfo(
        parts.hostname, parts.port or 80, type=socket.SOCK_DGRAM
    )[0]
    with socket.socket(family, kind) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
