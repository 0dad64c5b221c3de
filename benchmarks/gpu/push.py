"""A push of a model of 7B to an engine's buffers: as fast as the memory allows?"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.models import QWEN_7B, TINY, random_policy
from policies.rollouts.weights import whole_weights

LIMIT = 1e12  # bytes a second, read and written together


def push_to_buffers(bench: Bench) -> None:
    """Copy every weight, in float32, into a buffer in bfloat16 that is there already."""
    policy = random_policy(bench, bench.size(QWEN_7B, TINY), filled=not bench.is_gpu)
    buffers: dict[str, Tensor] = {
        name: torch.empty_like(weight, dtype=torch.bfloat16) for name, weight in whole_weights(policy)
    }
    num_bytes = sum(buffer.numel() for buffer in buffers.values()) * (4 + 2)

    def push() -> None:
        for name, weight in whole_weights(policy):
            buffers[name].copy_(weight)

    seconds = bench.seconds(push)
    bench.say("bytes read and written [GB]", num_bytes / 1e9)
    bench.say("seconds of a push", seconds)
    bench.at_least("rate [bytes/s]", num_bytes / seconds, LIMIT, on="h200")
    gap = max((buffers[name].float() - weight).abs().max().item() for name, weight in whole_weights(policy))
    largest = max(weight.abs().max().item() for _, weight in whole_weights(policy))
    bench.at_most("what bfloat16 rounds away, of the largest weight", gap / max(largest, 1e-30), 2.0**-8)
