"""The transformers engine: its speed, and whether the learner agrees with its log-probabilities."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.models import QWEN_1B5, TINY, random_policy
from policies.model.loading import LoadedPolicy
from policies.rollouts.base import Completion, Sampling
from policies.rollouts.transformers_engine import TransformersEngine
from policies.statistics.response_statistics import View, observe
from policies.statistics.sequences import pack

GAP_NATS = 2e-2
GROUP = 8


def samples_and_their_log_probs(bench: Bench) -> None:
    """Sample from a model with the engine, and compute the same tokens as the learner does."""
    shape = bench.size(QWEN_1B5.of_layers(8), TINY)
    policy = random_policy(bench, shape)
    engine = TransformersEngine(policy.model, pad_id=policy.pad_id, stop_ids=policy.stop_ids, masked_ids=())
    num_prompts, max_tokens = bench.size((8, 256), (2, 6))
    generator = torch.Generator().manual_seed(0)
    prompts = [torch.randint(shape.vocabulary, (32 + n,), generator=generator) for n in range(num_prompts)]
    sampling = Sampling(temperature=1.0, max_tokens=max_tokens, seed=1)
    start = time.perf_counter()
    with bench.autocast(), torch.no_grad():
        groups = engine.generate(prompts, GROUP, sampling)
    bench.wait()
    seconds = time.perf_counter() - start
    completions = [completion for group in groups for completion in group]
    num_tokens = sum(len(each.tokens) for each in completions)
    bench.say(f"{len(completions)} responses [tokens/s]", num_tokens / seconds)
    apart = gap(bench, policy, prompts, groups, masked_ids=())
    bench.at_most("engine and learner, mean gap [nats]", apart.mean().item(), GAP_NATS)
    bench.say("engine and learner, largest gap [nats]", apart.max().item())


def gap(
    bench: Bench,
    policy: LoadedPolicy,
    prompts: Sequence[Tensor],
    groups: Sequence[Sequence[Completion]],
    masked_ids: tuple[int, ...],
) -> Tensor:
    """How far the engine's log-probabilities are from the learner's own of the same tokens [T]."""
    completions = [completion for group in groups for completion in group]
    repeated = [prompt for prompt, group in zip(prompts, groups, strict=True) for _ in group]
    sequences = pack(repeated, [each.tokens for each in completions], policy.pad_id)
    view = View(temperature=1.0, masked_ids=masked_ids)
    with bench.autocast():
        seen = observe(policy.model, sequences, view, micro_batch_size=16)
    return (seen.logprobs.cpu() - torch.cat([each.logprobs for each in completions])).abs()
