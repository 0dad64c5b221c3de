"""vLLM beside a learner on one GPU: it sleeps and wakes while the learner's memory is full, and has its weights."""

from __future__ import annotations

import torch

from benchmarks.gpu.bench import Bench, LacksError
from benchmarks.gpu.engine import GAP_NATS, GROUP, gap
from benchmarks.gpu.models import QWEN_1B5, random_policy, rows
from benchmarks.gpu.optimiser import adamw
from policies.rollouts.base import Sampling
from policies.rollouts.settings import Vllm
from policies.rollouts.vllm_engine import VllmEngine
from policies.rollouts.vllm_support import why_no_vllm
from policies.statistics.response_statistics import View, response_statistics

NUM_ROUNDS = 10
LARGER_STEPS = 100.0
"""Times the learning rate of the other checks: a push that does nothing must show as a gap."""


def needs(bench: Bench, num_gpus: int) -> None:
    """Make sure that this machine has vLLM and so many GPUs.

    Raises:
        LacksError: it has not.
    """
    there, reason = torch.cuda.device_count() if bench.is_gpu else 0, why_no_vllm()
    if there < num_gpus or reason:
        what = "a GPU" if num_gpus == 1 else f"{num_gpus} GPUs"
        raise LacksError(f"needs {what} and vLLM: {there} here, {reason or 'and vLLM is installed'}")


def sleep_and_wake(bench: Bench) -> None:
    """Update, push, sample and sleep in turn; nothing may leak, and every push must arrive."""
    needs(bench, 1)
    policy = random_policy(bench, QWEN_1B5)
    optimizer = adamw(policy.model)
    for group in optimizer.param_groups:
        group["lr"] *= LARGER_STEPS
    engine = VllmEngine(policy, Vllm(memory_fraction=0.35, max_model_len=2048, sleep=True), max_batch_size=64)
    prompts = [torch.arange(1, 9 + number) for number in range(8)]
    sequences = rows([(512, 3584)] * 4, QWEN_1B5.vocabulary)
    gaps, free = [], []
    for number in range(NUM_ROUNDS):
        with bench.autocast():
            seen = response_statistics(policy.model, sequences, View(temperature=1.0))
        seen.logprobs.mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        del seen
        engine.push(number)
        groups = engine.generate(prompts, GROUP, Sampling(temperature=1.0, max_tokens=128, seed=number))
        gaps.append(gap(bench, policy, prompts, groups, policy.masked_ids).mean().item())
        free.append(torch.cuda.mem_get_info()[0] / 2**30)
    engine.close()
    bench.require("rounds of update, push, sample and sleep", len(gaps) == NUM_ROUNDS, f"{len(gaps)}")
    bench.at_most("largest mean gap after a push [nats]", max(gaps), GAP_NATS)
    bench.at_most("memory lost between the second round and the last [GiB]", free[1] - free[-1], 1.0)
