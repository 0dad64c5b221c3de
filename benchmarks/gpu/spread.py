"""FSDP2 on a mesh of one device: the same gradients, the same norm, and a policy that is saved and read again."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch import distributed as dist

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.models import QWEN_1B5, TINY, random_policy, rows
from policies.model.loading import LoadedPolicy, load_pretrained
from policies.sharding import full, shard
from policies.statistics.response_statistics import View, response_statistics, token_values
from policies.statistics.sequences import Sequences

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


@contextmanager
def one_rank(bench: Bench) -> Iterator[DeviceMesh]:
    """A process group of this process alone, and its mesh."""
    from torch.distributed.device_mesh import init_device_mesh

    backend = "nccl" if bench.is_gpu else "gloo"
    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    try:
        yield init_device_mesh(bench.device.type, (1,))
    finally:
        dist.destroy_process_group()


def mesh_of_one(bench: Bench) -> None:
    """Compare a policy with its sharded copy, and measure what saving takes of the host's memory."""
    shape = bench.size(QWEN_1B5.of_layers(8), TINY)
    plain = random_policy(bench, shape)
    spread = LoadedPolicy(deepcopy(plain.model), plain.tokenizer)
    sequences = rows(bench.size([(128, 896), (64, 700)], [(4, 8), (3, 6)]), shape.vocabulary)
    with one_rank(bench) as mesh:
        shard(spread.model, mesh, half=bench.is_gpu, run=token_values)
        gradients = [_gradients(bench, policy, sequences) for policy in (plain, spread)]
        gap = _norm([a - b for a, b in zip(*gradients, strict=True)]) / _norm(gradients[0])
        bench.at_most("gradients off, of their norm", gap, 1e-2)
        norms = [
            full(torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)).item()
            for policy in (plain, spread)
        ]
        bench.at_most("norm before clipping off", abs(norms[1] / norms[0] - 1.0), 1e-2)
        with tempfile.TemporaryDirectory() as folder:
            _save_and_read(bench, spread, Path(folder) / "policy")


def _gradients(bench: Bench, policy: LoadedPolicy, sequences: Sequences) -> list[Tensor]:
    with bench.autocast():
        seen = response_statistics(policy.model, sequences, View(temperature=1.0, entropy_gradient=True))
    (seen.logprobs.mean() + 0.1 * seen.entropy.mean()).backward()
    return [full(weight.grad).clone() for weight in policy.model.parameters() if weight.grad is not None]


def _norm(tensors: list[Tensor]) -> float:
    return torch.stack([tensor.float().norm() for tensor in tensors]).norm().item()


def _save_and_read(bench: Bench, policy: LoadedPolicy, folder: Path) -> None:
    before = _host_bytes()
    with _watched() as seen:
        policy.save(folder)
    grown = max(seen) - before
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    bench.at_most("host memory for a save, of the file", grown / size, 1.1, on="gpu")
    again = dict(load_pretrained(str(folder)).weights())
    same = all(torch.equal(again[name], weight.cpu()) for name, weight in policy.weights() if name in again)
    bench.require("what was saved is what is read", same and bool(again), f"{len(again)} tensors")


@contextmanager
def _watched() -> Iterator[list[int]]:
    """The memory of this process, every few milliseconds [bytes]; its own peak may be of an earlier check."""
    seen, over = [_host_bytes()], threading.Event()

    def watch() -> None:
        while not over.wait(5e-3):
            seen.append(_host_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def _host_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
