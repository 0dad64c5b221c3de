"""Checks whether packed rows fit their token budget, and whether the kernel that is to read them is there.

Each check yields the faults that it finds as ``key: rule, value; remedy``.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.configuration.models import RunConfig
from policies.statistics.packed_attention import HALF_ON_CUDA, why_absent


def check_packing(config: RunConfig) -> Iterator[str]:
    """What stands against packing, before a prompt is looked at."""
    kernel, learner = config.policy.attention, config.learner
    if learner.tokens_per_micro_batch is None:
        if kernel != "auto":
            yield (
                "policy.attention: must be 'auto' unless rows are packed, since it is the attention of packed rows, got "
                f"{kernel!r}; set learner.tokens_per_micro_batch, or remove it"
            )
        return
    if (absent := why_absent(kernel)) is not None:
        yield f"policy.attention: {kernel!r} is not there: {absent}, or take 'auto'"
    if kernel in HALF_ON_CUDA and (learner.accelerator == "cpu" or learner.precision == "32-true"):
        yield (
            f"policy.attention: {kernel!r} computes in bfloat16 on CUDA alone, got learner.accelerator "
            f"{learner.accelerator!r} and learner.precision {learner.precision!r}; take 'auto'"
        )
    if kernel == "flex" and learner.accelerator == "cpu":
        yield "policy.attention: 'flex' has a gradient on CUDA alone, got learner.accelerator 'cpu'; take 'auto'"


def check_budget(config: RunConfig, longest_prompt: int) -> Iterator[str]:
    """Whether the longest row fits, given the least that is known of the longest prompt [tokens]."""
    budget, longest = config.learner.tokens_per_micro_batch, longest_prompt + config.max_response_tokens
    if budget is not None and budget < longest:
        yield (
            f"learner.tokens_per_micro_batch: must hold a prompt and its longest response, at least {longest} tokens, "
            f"got {budget}; raise it, or lower rollout.max_tokens"
        )
