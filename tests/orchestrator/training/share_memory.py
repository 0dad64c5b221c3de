"""One of two ranks that load a policy, save it and go on from that, with little more memory than their shares.

The kernel's peak of a process (VmHWM) also counts the pages of a file that is mapped, of which one is at a time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import distributed as dist

from orchestrator.training import shares
from orchestrator.training.ranks import Ranks
from policies.model import saving, skeleton
from policies.sharding import shard
from policies.statistics.response_statistics import token_values

CPU = torch.device("cpu")


@contextmanager
def room_for(num_bytes: float) -> Iterator[None]:
    """What is done here takes no more memory than so much, at its highest.

    Raises:
        AssertionError: it takes more.
    """
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what there is now
    before = kilobytes("VmRSS")
    yield
    taken = 1024 * (kilobytes("VmHWM") - before)
    print(f"{taken / 2**20:.0f} MiB of {num_bytes / 2**20:.0f} MiB", flush=True)
    assert taken <= num_bytes, f"{taken:,} bytes at the peak, and {num_bytes:,.0f} are allowed"


def kilobytes(name: str) -> int:
    (line,) = (each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith(name))
    return int(line.split()[1])


def spread(folder: Path, ranks: Ranks) -> torch.nn.Module:
    model, source = skeleton.skeleton(str(folder))
    shard(model, ranks.mesh(CPU), half=False, run=token_values)
    skeleton.fill(model, source, CPU)
    return model


def content_of(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    states = [optimizer.state_dict()]
    return {
        "state_dict": model.state_dict(keep_vars=True),
        "optimizer_states": states,
        "learner": {"iteration": 3},
    }


def work(small: Path, large: Path, out: Path, ranks: Ranks) -> None:
    # What is imported and set up once is no part of it.
    for folder, measured in ((small, False), (large, True)):
        sizes = [tensor.numel() * 4 for tensor in skeleton.skeleton(str(folder))[0].parameters()]
        share, one = sum(sizes) / ranks.size, max(sizes)
        mapped = max(file.stat().st_size for file in folder.glob("*.safetensors"))
        assert not measured or 1.2 * share + one + mapped < 0.85 * sum(sizes)  # so it can tell

        def room(times: float, most: float = one + mapped, share: float = share, measured: bool = measured):
            return room_for(times * share + most if measured else 2**34)

        with room(1.2):
            model = spread(folder, ranks)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        for weight in model.parameters():
            weight.grad = torch.ones_like(weight)
        optimizer.step()
        optimizer.zero_grad()
        path = out / f"{folder.name}.ckpt"
        with room(0.2):
            rest = shares.write_shares(content_of(model, optimizer), path, ranks)
        with room(0.2):
            saving.save_one_by_one(
                model,
                whole(model),
                out / f"{folder.name}-{ranks.rank}",
                write=ranks.is_first,
                file_bytes=one,
            )
        if ranks.is_first:
            torch.save(rest, path)
        dist.barrier()
        kept = {name: weight.to_local().clone() for name, weight in model.state_dict().items()}
        moments = [state["exp_avg"].to_local() for state in optimizer.state.values()]
        again = spread(folder, ranks)
        trained = list(again.parameters())
        with room(2.2):  # the two moments, the weights being there
            loaded = shares.read_shares(path, again.state_dict(keep_vars=True), trained)
        assert loaded["learner"] == {"iteration": 3}
        assert all(torch.equal(again.state_dict()[name].to_local(), kept[name]) for name in kept)
        found = [state["exp_avg"].to_local() for state in loaded["optimizer_states"][0]["state"].values()]
        assert all(map(torch.equal, found, moments))


def whole(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    return ((name, weight.full_tensor()) for name, weight in model.state_dict().items())


if __name__ == "__main__":
    torch.set_num_threads(1)
    everyone = Ranks.of_environment()
    everyone.connect(CPU)
    work(*map(Path, sys.argv[1:4]), everyone)
    dist.barrier()
    print("rank", os.environ["RANK"], "is through")
