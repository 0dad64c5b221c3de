"""A rank of two that share a sharded policy and push it to two servers; run by a test, and prints what it saw.

The servers are in the first rank's process.  The other rank joins no transfer group: it only gathers with the first.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor.debug import CommDebugMode
from transformers import AutoModelForCausalLM, Qwen3Config

from policies.model.loading import LoadedPolicy
from policies.rollouts.gpu_transfer import NcclTransfer
from policies.rollouts.replica import Replica
from policies.sharding import shard
from policies.statistics.response_statistics import token_values
from tests.policies.gloo_transfer import ReceivingServer, install

CONFIG = Qwen3Config(
    vocab_size=24, hidden_size=32, intermediate_size=64, num_hidden_layers=2, head_dim=16, num_attention_heads=2,
    num_key_value_heads=1, max_position_embeddings=64, tie_word_embeddings=False,
)  # fmt: skip
NUM_PUSHES = 2


def main(rank: int, folder: str) -> None:
    install(pytest.MonkeyPatch())
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIG)
    expected = {name: weight.detach().bfloat16() for name, weight in model.state_dict().items()}
    servers = [ReceivingServer(model, num_workers=number) for number in (2, 1)] if rank == 0 else []
    shard(model, init_device_mesh("cpu", (2,)), half=False, run=token_values)
    policy: LoadedPolicy = SimpleNamespace(model=model, masked_ids=())  # type: ignore[assignment]
    replicas = [
        Replica(address=server.url, timeout_seconds=20.0, retries=0, backoff_seconds=0.01)
        for server in servers
    ] or [Replica(address="http://127.0.0.1:1", timeout_seconds=1.0, retries=0, backoff_seconds=0.01)]
    transfer = NcclTransfer(policy, Path(folder))
    gathers = []
    for version in range(NUM_PUSHES):
        with CommDebugMode() as seen:
            transfer.push(replicas, f"run-{version}")
        gathers.append(seen.get_total_counts())
    received = [weights for server in servers for weights in server.received]
    equal = [
        list(weights) == list(expected)
        and all(torch.equal(weights[name], expected[name]) for name in expected)
        for weights in received
    ]
    transfer.close()
    for server in servers:
        server.stop()
    print(json.dumps({"gathers": gathers, "weights": len(expected), "equal": equal}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
