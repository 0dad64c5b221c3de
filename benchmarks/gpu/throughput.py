"""A model of 1.5B as the learner runs it: tokens per second, share of the peak, and memory beside the estimate."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.models import QWEN_1B5, TINY, random_model, rows
from benchmarks.gpu.optimiser import adamw
from policies.model.flops import peak_flops, training_flops
from policies.model.memory import BFLOAT16, FLOAT32, TrainingSetup, learner_memory, shape_of
from policies.model.recompute import recompute_activations
from policies.statistics.packed_attention import pack_rows
from policies.statistics.response_statistics import View, observe, response_statistics
from policies.statistics.sequences import Sequences

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CASES = {
    "1 x 8k": [(512, 7680)],
    "2 x 8k": [(512, 7680 - 64 * n) for n in range(2)],
    "32 x 512": [(128, 384 - 2 * n) for n in range(32)],
    "8 x 4k": [(512, 3584 - 64 * n) for n in range(8)],
}
"""Rows as sampling gives them: of unequal length, so that attention has a mask."""
TINY_CASES = {
    "1 x 8k": [(4, 12)],
    "2 x 8k": [(4, 12), (4, 11)],
    "32 x 512": [(4, 3), (3, 2), (2, 1)],
    "8 x 4k": [(4, 7), (4, 6), (4, 5)],
}
RECOMPUTED = "8 x 4k"
"""The last case: its activations alone are 100 GB, so that they are made again."""
JUDGED = "2 x 8k"
PACKED = "32 x 512"
"""A case that is trained packed too: many short rows."""
FORWARD_LIMIT, TRAINING_LIMIT, MFU_LIMIT = 95e3, 25e3, 0.35
MEMORY_LIMIT = 0.15


def forward_and_training(bench: Bench) -> None:
    """Time `observe`, and `response_statistics` with its backward pass, with AdamW's moments in memory."""
    shape = bench.size(QWEN_1B5, TINY)
    model = random_model(bench, shape)
    optimizer = adamw(model)
    _train(bench, model, rows([(4, 4)], shape.vocabulary))
    optimizer.step()  # makes the moments
    for name, lengths in bench.size(CASES, TINY_CASES).items():
        if name == RECOMPUTED:
            recompute_activations(model)
        sequences = rows(lengths, shape.vocabulary)
        num_tokens = int(sequences.lengths.sum())
        forward = num_tokens / bench.seconds(partial(_forward, bench, model, sequences))
        # The gradients stay, as between the micro-batches of a step.
        if bench.is_gpu:
            torch.cuda.reset_peak_memory_stats()
        training = num_tokens / bench.seconds(partial(_train, bench, model, sequences))
        if name == JUDGED:
            bench.at_least(f"{name}, forward [tokens/s]", forward, FORWARD_LIMIT, on="h200")
            bench.at_least(f"{name}, training [tokens/s]", training, TRAINING_LIMIT, on="h200")
        else:
            bench.say(f"{name}, forward and training [tokens/s]", f"{forward:.0f} and {training:.0f}")
        _share_of_peak(bench, name, model, sequences, num_tokens / training)
        _memory(bench, name, model, sequences)
        if name == PACKED:
            pack_rows(model, "auto")
            packed = num_tokens / bench.seconds(partial(_train, bench, model, sequences))
            model.set_attn_implementation("sdpa")
            bench.say(
                f"{name}, packed, training [tokens/s]", f"{packed:.0f}, {packed / training:.2f} of padded"
            )


def _forward(bench: Bench, model: PreTrainedModel, sequences: Sequences) -> None:
    with bench.autocast():
        observe(model, sequences, View(temperature=1.0), micro_batch_size=len(sequences.input_ids))


def _train(bench: Bench, model: PreTrainedModel, sequences: Sequences) -> None:
    with bench.autocast():
        seen = response_statistics(model, sequences, View(temperature=1.0, entropy_gradient=True))
    (seen.logprobs.mean() + 0.1 * seen.entropy.mean()).backward()


def _share_of_peak(
    bench: Bench, name: str, model: PreTrainedModel, sequences: Sequences, seconds: float
) -> None:
    peak = peak_flops(torch.cuda.get_device_name()) if bench.is_gpu else None
    done = training_flops(shape_of(model), sequences.lengths, int(sequences.spoken.sum()))
    if peak is None:
        bench.say(f"{name}, training [FLOP/s]", done / seconds)
    elif name == JUDGED:
        bench.at_least(f"{name}, MFU of training", done / seconds / peak, MFU_LIMIT, on="h200")
    else:
        bench.say(f"{name}, MFU of training", done / seconds / peak)


def _memory(bench: Bench, name: str, model: PreTrainedModel, sequences: Sequences) -> None:
    num_rows, length = sequences.input_ids.shape
    setup = TrainingSetup(
        rows=num_rows,
        length=length,
        compute_bytes=BFLOAT16 if bench.is_gpu else FLOAT32,
        recompute=name == RECOMPUTED,
    )
    estimate = sum(learner_memory(shape_of(model), setup).values())
    if bench.is_gpu:
        peak = torch.cuda.max_memory_allocated()
        what = f"{name}, peak of {peak / 2**30:.1f} GiB off the estimate of {estimate / 2**30:.1f}"
        bench.at_most(what, abs(peak / estimate - 1.0), MEMORY_LIMIT, on="gpu")
    else:
        bench.say(f"{name}, estimated memory [MiB]", estimate / 2**20)
