"""Whether another allocator finds memory after updates on rows of every length."""

from __future__ import annotations

import random

import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.models import QWEN_1B5, TINY, random_model, rows
from benchmarks.gpu.optimiser import adamw
from policies.rollouts.vllm_engine import empty_cache
from policies.statistics.response_statistics import View, response_statistics

SHARE = 0.35
"""The part of a device that vLLM takes beside the learner (``memory_fraction``)."""


def free_after_ragged_updates(bench: Bench) -> None:
    """Update on ragged rows, empty the cache as the engine does before it wakes, and look at what is free."""
    shape = bench.size(QWEN_1B5, TINY)
    model = random_model(bench, shape)
    optimizer, chance = adamw(model), random.Random(0)
    longest = bench.size(4096, 24)
    for _ in range(bench.size(12, 2)):
        lengths = [(chance.randint(2, longest // 8), chance.randint(2, longest)) for _ in range(4)]
        with bench.autocast():
            seen = response_statistics(model, rows(lengths, shape.vocabulary), View(temperature=1.0))
        seen.logprobs.mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    if not bench.is_gpu:
        bench.say("free memory", "not looked at on a CPU; the updates ran")
        return
    del seen
    kept = torch.cuda.memory_reserved() / torch.cuda.memory_allocated()
    bench.say("memory kept, of that in use", kept)
    empty_cache()
    free, whole = torch.cuda.mem_get_info()
    bench.at_least("free for others, of the device", free / whole, SHARE, on="gpu")
    block = torch.cuda.caching_allocator_alloc(int(SHARE * whole))
    torch.cuda.caching_allocator_delete(block)
    bench.require("a plain allocation of it", True, "succeeded")
