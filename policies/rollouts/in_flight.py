"""Responses in flight: they go on by some tokens at a time, each time under the weights that the engine has then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch

from policies.rollouts.base import Completion, RolloutEngine, Sampling

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class InFlight:
    """More prompts than an iteration learns from, so that none waits for the longest response.

    The first whose responses have all ended make the batch.  Time is counted in tokens, as an engine that samples all
    responses side by side would see it, so who is first depends on no clock.  Over-sampling as in APRIL
    (arXiv 2509.18521), responses that go on as in Kimi k1.5 (2501.12599, section 2.6.2).
    """

    prompts: int
    """Prompts in flight; above ``learner.prompts_per_iteration``, and at most twice as many."""
    round_tokens: int
    """Tokens by which each response goes on until it is looked who has ended [tokens]; divides ``rollout.max_tokens``.
    Fewer cut sooner, and an engine reads again what was said as often."""
    unfinished: Literal["go_on", "dropped"] = "go_on"
    """What becomes of the others when the batch is full: they ``go_on`` under the next weights, and are waited for where
    ``rollout.max_staleness`` would be exceeded; or they are ``dropped``, which keeps old weights out of the batch and
    long responses too."""

    def __post_init__(self) -> None:
        for name in ("prompts", "round_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def sample_segments(
    engine: RolloutEngine,
    prompts: Sequence[Tensor],
    responses: Sequence[Completion | None],
    sampling: Sampling,
    version: int,
) -> list[Completion]:
    """What each response goes on by: at most ``sampling.max_tokens`` tokens, each with its version.

    Args:
        engine: that samples them.
        prompts: [B] of int64 token ids.
        responses: [B], unfinished; None where there is no token yet.
        sampling: how; it says the number of each of the B.
        version: updates behind the weights of an engine that does not say them.
    """
    said = [
        prompt if response is None else torch.cat([prompt, response.tokens])
        for prompt, response in zip(prompts, responses, strict=True)
    ]
    segments = [segment for (segment,) in engine.generate(said, 1, sampling)]
    return [
        replace(segment, versions=torch.full_like(segment.tokens, version))
        if segment.versions is None
        else segment
        for segment in segments
    ]


def joined(response: Completion | None, segment: Completion) -> Completion:
    """A response with what it went on by."""
    if response is None:
        return segment
    assert response.versions is not None
    assert segment.versions is not None
    return Completion(
        tokens=torch.cat([response.tokens, segment.tokens]),
        logprobs=torch.cat([response.logprobs, segment.logprobs]),
        finished=segment.finished,
        versions=torch.cat([response.versions, segment.versions]),
    )
