"""Measures the phases of an iteration: their seconds, and on a GPU their peak of memory and the share of its peak."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from policies.model.flops import has_experts, peak_flops, training_flops
from policies.model.memory import GIB, shape_of
from policies.statistics.sequences import Sequences

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Phase = Literal["rollout", "measure", "control", "update", "wait", "push"]
"""The phases of an iteration, in their order."""


class PhaseMeter:
    """Clock of one iteration after another.

    A GPU works behind the program's back, so each phase waits for it at its end; a CPU has nothing to wait for.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peaks: dict[str, float] = {}
        self.now: Phase | None = None
        """The phase at work; after an error, the one that it happened in."""

    @contextmanager
    def phase(self, name: Phase, device: torch.device) -> Iterator[None]:
        """Measure what is inside, which works on this device."""
        on_gpu = device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(device)
        self.now, start = name, perf_counter()
        yield
        if on_gpu:
            torch.cuda.synchronize(device)
            self.peaks[name] = torch.cuda.max_memory_allocated(device) / GIB
        self.seconds[name], self.now = perf_counter() - start, None

    def metrics(
        self, model: PreTrainedModel, sequences: Sequences, kept: Tensor, epochs: int, num_gpus: int
    ) -> dict[str, float]:
        """What the iteration took, ready to be recorded; ``gpu/…`` on a GPU alone.

        Args:
            model: the policy.
            sequences: all rows that were sampled.
            kept: [N] of bool, the rows that the update was given.
            epochs: passes over those, forward and backward.
            num_gpus: that shared the work.
        """
        found = {f"seconds/{phase}": seconds for phase, seconds in self.seconds.items()}
        if not self.peaks:
            return found
        found |= {f"gpu/memory/{phase}": peak for phase, peak in self.peaks.items()}
        lengths = sequences.lengths
        found["gpu/tokens_per_second"] = float(lengths.sum()) / (self.seconds["iteration"] * num_gpus)
        peak = peak_flops(torch.cuda.get_device_name())
        if peak is not None and not has_experts(model) and bool(kept.any()):
            num_predicted = int(sequences.num_spoken[kept].sum())
            done = training_flops(shape_of(model), lengths[kept], num_predicted)
            found["gpu/mfu"] = epochs * done / (self.seconds["update"] * num_gpus * peak)
        return found
