"""Log-probabilities and entropy of a vocabulary of 152,000: time by size of a chunk, and what bfloat16 costs."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor

from benchmarks.gpu.bench import Bench
from policies.statistics.token_statistics import token_statistics

LIMITS = {1536: (2.7, 4.2), 3584: (3.6, 8.0)}
"""Microseconds a token by width, forward and backward [µs]."""
CHUNKS = (None, 110, 512, 1024, 4096)
"""Tokens of a chunk; None is what the learner takes."""
NUM_COMPARED = 1024


def token_statistics_of_a_large_vocabulary(bench: Bench) -> None:
    """Time the learner's own function, and compare it with itself in float32."""
    num_tokens, vocabulary = bench.size((16_384, 152_064), (64, 320))
    for width, (forward_limit, backward_limit) in LIMITS.items():
        hidden, weight, targets = _inputs(bench, num_tokens, vocabulary, bench.size(width, 32))
        for chunk in CHUNKS:
            forward, backward = _microseconds(bench, hidden, weight, targets, chunk)
            at = f"width {width}, chunks of {chunk or 'the learner'}"
            if chunk is None:
                bench.at_most(f"{at}, forward [µs/token]", forward, forward_limit, on="h200")
                bench.at_most(f"{at}, backward [µs/token]", backward, backward_limit, on="h200")
            else:
                bench.say(f"{at}, forward + backward [µs/token]", f"{forward:.2f} + {backward:.2f}")
        _compare(bench, width, hidden[:NUM_COMPARED], weight, targets[:NUM_COMPARED])
        _liger(bench, width, hidden, weight, targets)


def _inputs(bench: Bench, num_tokens: int, vocabulary: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(num_tokens, width, device=bench.device)
    weight = 2.0 * torch.randn(vocabulary, width, device=bench.device) / width**0.5
    return hidden, weight, torch.randint(vocabulary, (num_tokens,), device=bench.device)


def _microseconds(
    bench: Bench, hidden: Tensor, weight: Tensor, targets: Tensor, chunk: int | None
) -> tuple[float, float]:
    hidden, weight = hidden.clone().requires_grad_(), weight.clone().requires_grad_()

    def both(backward: bool) -> None:
        with bench.autocast():
            logprobs, entropy = token_statistics(hidden, weight, targets, chunk_tokens=chunk)
        if backward:
            (logprobs.mean() + 0.1 * entropy.mean()).backward()
            hidden.grad = weight.grad = None

    forward = bench.seconds(partial(both, False))
    whole = bench.seconds(partial(both, True))
    return 1e6 * forward / len(targets), 1e6 * (whole - forward) / len(targets)


def _liger(bench: Bench, width: int, hidden: Tensor, weight: Tensor, targets: Tensor) -> None:
    """Time Liger's fused head, which the learner does not use: its entropy is rounded to bfloat16."""
    if find_spec("liger_kernel") is None or not bench.is_gpu:
        bench.say(f"width {width}, Liger", "not installed" if bench.is_gpu else "for CUDA alone")
        return
    from liger_kernel.ops.fused_linear_scaled_cross_entropy import (  # type: ignore[import-not-found,unused-ignore]
        LigerFusedLinearScaledCrossEntropyFunction as Fused,
    )

    half, head = hidden.bfloat16().requires_grad_(), weight.bfloat16().requires_grad_()

    def both(backward: bool) -> None:
        loss, entropy = Fused.apply(half, head, targets, 1.0, -100, 1, True)
        if backward:
            (-loss.mean() + 0.1 * entropy.float().mean()).backward()
            half.grad = head.grad = None

    forward = bench.seconds(partial(both, False))
    backward = bench.seconds(partial(both, True)) - forward
    per_token = 1e6 / len(targets)
    bench.say(
        f"width {width}, Liger, forward + backward [µs/token]",
        f"{forward * per_token:.2f} + {backward * per_token:.2f}",
    )
    with torch.no_grad():
        own = token_statistics(half, head, targets)[1]
        bench.say(
            f"width {width}, Liger, entropy off [nats]",
            _mean_gap(Fused.apply(half, head, targets, 1.0, -100, 1, True)[1].float(), own),
        )


def _compare(bench: Bench, width: int, hidden: Tensor, weight: Tensor, targets: Tensor) -> None:
    logprobs, entropy, gradient = _values(bench, hidden, weight, targets, half=True)
    exact_logprobs, exact_entropy, exact_gradient = _values(bench, hidden, weight, targets, half=False)
    cosine = torch.cosine_similarity(gradient.flatten(), exact_gradient.flatten(), dim=0).item()
    bench.at_most(f"width {width}, log π off [nats]", _mean_gap(logprobs, exact_logprobs), 2e-2)
    bench.at_most(f"width {width}, entropy off [nats]", _mean_gap(entropy, exact_entropy), 1e-2)
    bench.at_least(f"width {width}, cosine of gradients", cosine, 0.999)


def _values(
    bench: Bench, hidden: Tensor, weight: Tensor, targets: Tensor, *, half: bool
) -> tuple[Tensor, Tensor, Tensor]:
    hidden = hidden.clone().requires_grad_()
    with torch.autocast(bench.device.type, torch.bfloat16, enabled=half):
        logprobs, entropy = token_statistics(hidden, weight, targets)
    (logprobs.mean() + 0.1 * entropy.mean()).backward()
    assert hidden.grad is not None
    return logprobs.detach(), entropy.detach(), hidden.grad


def _mean_gap(one: Tensor, other: Tensor) -> float:
    return (one - other).abs().mean().item()
