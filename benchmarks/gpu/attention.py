"""The attention kernel that a decoder of the 7B shape gets for rows as the learner has them, and its time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from itertools import product
from typing import TYPE_CHECKING

from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.models import QWEN_7B, TINY, random_model, rows
from benchmarks.gpu.spread import one_rank
from policies.sharding import shard
from policies.statistics.packed_attention import pack_rows
from policies.statistics.response_statistics import View, response_statistics, token_values
from policies.statistics.sequences import Sequences

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FAST = ("flash", "cudnn", "varlen")
FORWARD_LIMIT, BACKWARD_LIMIT = 5.0, 15.0  # microseconds a token, all layers together
VARLEN = "torch_attn::_varlen_attn"
"""torch's kernel of variable length, as a profiler names it."""
NUM_LAYERS = 2  # that run; all are alike

Lengths = Sequence[tuple[int, int]]
CASES: dict[str, tuple[Lengths, bool]] = {
    "1 x 8k": ([(512, 7680)], False),
    "2 x 8k, unequal": ([(512, 7680), (384, 6144)], False),
    "8 x 4k of one prompt": ([(1024, 3072 - 64 * number) for number in range(8)], True),
}
TINY_CASES: dict[str, tuple[Lengths, bool]] = {
    "1 x 8k": ([(4, 12)], False),
    "2 x 8k, unequal": ([(4, 12), (3, 8)], False),
    "8 x 4k of one prompt": ([(4, 8 - number) for number in range(3)], True),
}


def attention_kernels(bench: Bench) -> None:
    """Run forward and backward under a profiler: padded, packed, and both spread over one rank."""
    shape = bench.size(QWEN_7B.of_layers(NUM_LAYERS), TINY)
    for packed, spread in product((False, True), (False, True)):
        model = random_model(bench, shape)
        if packed:
            pack_rows(model, "auto")
        with one_rank(bench) if spread else nullcontext() as mesh:
            if mesh is not None:
                shard(model, mesh, half=bench.is_gpu, run=token_values)
            for name, (lengths, one_prompt) in bench.size(CASES, TINY_CASES).items():
                sequences = rows(lengths, shape.vocabulary, one_prompt=one_prompt)
                kernel, forward, backward = _profiled(bench, model, sequences)
                scale = QWEN_7B.layers / NUM_LAYERS / int(sequences.lengths.sum())
                at = f"{name}{', packed' if packed else ''}{', sharded' if spread else ''}"
                bench.require(f"{at}, kernel", any(word in kernel for word in FAST), kernel, on="gpu")
                bench.at_most(f"{at}, forward [µs/token]", forward * scale, FORWARD_LIMIT, on="h200")
                bench.at_most(f"{at}, backward [µs/token]", backward * scale, BACKWARD_LIMIT, on="h200")
        del model


def _profiled(bench: Bench, model: PreTrainedModel, sequences: Sequences) -> tuple[str, float, float]:
    """Names of the kernels, and their time forward and backward [µs]."""

    def step() -> None:
        with bench.autocast():
            seen = response_statistics(model, sequences, View(temperature=1.0))
        seen.logprobs.mean().backward()
        model.zero_grad()

    step()
    bench.wait()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if bench.is_gpu else [])]
    with profile(activities=activities) as profiled:
        step()
        bench.wait()
    kernels, forward, backward = set(), 0.0, 0.0
    for event in profiled.key_averages():
        spent = event.device_time_total if bench.is_gpu else event.cpu_time_total
        if event.key in ("aten::scaled_dot_product_attention", VARLEN):
            forward += spent
        elif (
            event.key.startswith("ScaledDotProduct") and event.key.endswith("Backward0")
        ) or event.key == f"{VARLEN}_backward":
            backward += spent
        if event.key == VARLEN:
            kernels.add("varlen")
        elif event.key.startswith("aten::_scaled_dot_product") and not event.key.endswith("backward"):
            kernels.add(event.key.removeprefix("aten::_scaled_dot_product_"))
    return " and ".join(sorted(kernels)) or "none found", forward, backward
