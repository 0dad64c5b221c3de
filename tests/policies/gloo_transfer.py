"""GPU to GPU on a CPU: servers that receive, and a learner's end, over gloo in place of NCCL.

`StandIn` has the place and the manners of vLLM's trainer engine where vLLM is not installed; where it is, the
real one is given a `GlooGroup` instead of its communicator.
"""

from __future__ import annotations

import pickle
import sys
from base64 import b64decode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import asdict, dataclass
from datetime import timedelta
from threading import Event
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from policies.rollouts import gpu_transfer
from tests.policies.fake_vllm import FakeServer

PATIENCE = timedelta(seconds=20)


class GlooGroup:
    """A communicator as vLLM has them, and as independent of torch's default group."""

    def __init__(self, host: str, port: int, rank: int, world_size: int) -> None:
        store = dist.TCPStore(host, port, world_size, is_master=rank == 0, timeout=PATIENCE)
        self.group = dist.ProcessGroupGloo(store, rank, world_size, PATIENCE)

    def broadcast(self, tensor: Tensor, src: int, stream: object = None) -> None:
        """Send, or receive in place."""
        options = dist.BroadcastOptions()
        options.rootRank = src
        self.group.broadcast([tensor], options).wait()

    def destroy(self) -> None:
        """Leave it."""
        self.group = None


class ReceivingServer(FakeServer):
    """A server with some workers, each of which receives every weight.

    ``backend`` is what it was started with; ``bodies`` has what was asked of each route.
    """

    def __init__(self, model: Any, *, num_workers: int = 1, backend: str | None = "nccl") -> None:
        self.model_of_start = model
        self.num_workers = num_workers
        self.backend = backend
        self.bodies: dict[str, list[Any]] = {}
        self.groups: list[GlooGroup] = []
        self.received: list[dict[str, Tensor]] = []
        super().__init__()
        self.model = deepcopy(model)

    def answer(self, path: str, body: dict[str, Any]) -> Any:
        self.bodies.setdefault(path, []).append(body)
        if body.get("method") == "transfer_backends":
            return {"results": [[self.backend] if self.backend else []] * self.num_workers}
        if path == "/get_world_size":
            return {"world_size": self.num_workers}
        if path == "/weight_info":
            return {"weight_version": self.version}
        if path == "/init_weight_transfer_engine" and self.backend == "nccl":
            self.groups = self._each(lambda worker: self._join(worker, body["init_info"]))
        elif path == "/shutdown_weight_transfer_engine":
            self.groups = []
        elif path == "/update_weights":
            self.received = self._each(lambda worker: self._receive(worker, body["update_info"]))
        elif path == "/finish_weight_update":
            weights = {name: weight.float() for name, weight in self.received[0].items()}
            self.model.load_state_dict(weights, strict=False)  # a tied head comes once
            self.version = body["weight_version"]
        return super().answer(path, body)

    def _each(self, work: Callable[[int], Any]) -> list[Any]:
        with ThreadPoolExecutor(self.num_workers) as pool:
            return list(pool.map(work, range(self.num_workers)))

    def _join(self, worker: int, info: dict[str, Any]) -> GlooGroup:
        rank = info["rank_offset"] + worker
        return GlooGroup(info["master_address"], info["master_port"], rank, info["world_size"])

    def _receive(self, worker: int, info: dict[str, Any]) -> dict[str, Tensor]:
        if self.backend == "ipc":
            opened = pickle.loads(b64decode(info["ipc_handles_pickled"]))["GPU"]
            return (self.received[worker] if self.received else {}) | dict(
                zip(info["names"], opened, strict=True)
            )
        received = {}
        for name, dtype, shape in zip(info["names"], info["dtype_names"], info["shapes"], strict=True):
            received[name] = torch.empty(shape, dtype=getattr(torch, dtype))
            self.groups[worker].broadcast(received[name], src=0)
        return received


@dataclass(kw_only=True)
class InitInfo:
    """In the place of vLLM's ``NCCLTrainerInitInfo``."""

    rank: int
    master_address: str
    master_port: int
    world_size: int


@dataclass(kw_only=True)
class IpcInitInfo:
    """In the place of vLLM's ``IPCTrainerInitInfo``."""

    rank: int
    packed: bool = False


class StandIn:
    """In the place of vLLM's ``NCCLTrainerWeightTransferEngine``."""

    def __init__(self, client: Any, source: Any, is_sender: bool) -> None:
        self.client, self.source, self.is_sender = client, source, is_sender
        self.group: GlooGroup | None = None
        self.let_go = Event()

    @classmethod
    def trainer_init(cls, info: InitInfo, *, client: Any, source: Any) -> StandIn:
        """Meet the workers, which wait for this."""
        trainer = cls(client, source, info.rank == 0)
        if trainer.is_sender:
            with ThreadPoolExecutor(1) as pool:
                theirs = pool.submit(client.init_weight_transfer_engine, asdict(info) | {"rank_offset": 1})
                trainer.group = GlooGroup(info.master_address, info.master_port, 0, info.world_size)
                theirs.result()
        return trainer

    def send_weights(self) -> None:
        """Send while they receive."""
        if not self.is_sender:
            for _ in self.source:
                pass
            return
        meta = self.source.metadata()
        info = {
            "names": [each.name for each in meta],
            "dtype_names": [str(each.dtype).split(".")[-1] for each in meta],
            "shapes": [list(each.shape) for each in meta],
        }
        self.client.start_weight_update()
        with ThreadPoolExecutor(1) as pool:
            theirs = pool.submit(self.client.update_weights, info)
            self._broadcast()
            theirs.result()
        self.client.finish_weight_update()

    def _broadcast(self) -> None:
        assert self.group is not None
        for _, weight in self.source:
            self.group.broadcast(weight.contiguous(), src=0)

    def shutdown(self) -> None:
        """Leave the group."""
        self.let_go.set()
        self.group = None


class Stuck(StandIn):
    """Waits, as NCCL does, until it is let go of."""

    def _broadcast(self) -> None:
        assert self.let_go.wait(PATIENCE.total_seconds())
        raise RuntimeError("the communicator was aborted")


class Handles:
    """In the place of vLLM's ``IPCTrainerWeightTransferEngine``: a request for each bucket, here of one weight."""

    def __init__(self, client: Any, source: Any) -> None:
        self.client, self.source = client, source

    @classmethod
    def trainer_init(cls, info: IpcInitInfo, *, client: Any, source: Any) -> Handles:
        """Say how the buckets are packed."""
        client.init_weight_transfer_engine({"packed": info.packed})
        return cls(client, source)

    def send_weights(self) -> None:
        """Let them open what the handles name; a weight is its own handle here."""
        self.client.start_weight_update()
        for name, weight in self.source:
            info = {"names": [name], "dtype_names": ["bfloat16"], "shapes": [list(weight.shape)]}
            self.client.update_weights(info | {"ipc_handles": {"GPU": [weight]}, "ipc_handles_pickled": None})
        self.client.finish_weight_update()

    def shutdown(self) -> None:
        """There is no group to leave."""


def install(monkeypatch: Any, trainer: type[StandIn] | type[Handles] = StandIn) -> None:
    """Put the stand-in where vLLM's trainer engine is imported from, as on a machine with a GPU."""
    package = "vllm.distributed.weight_transfer"
    factory = ModuleType(f"{package}.factory")
    nccl, ipc = ModuleType(f"{package}.nccl_engine"), ModuleType(f"{package}.ipc_engine")
    vars(factory)["WeightTransferTrainerFactory"] = trainer
    vars(nccl)["NCCLTrainerInitInfo"], vars(ipc)["IPCTrainerInitInfo"] = InitInfo, IpcInitInfo
    for module in (factory, nccl, ipc, *map(ModuleType, ("vllm", "vllm.distributed", package))):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(gpu_transfer, "check_gpu", lambda _: None)
