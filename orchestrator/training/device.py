"""The device that a process trains on, and what follows from it where the configuration leaves it open."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from orchestrator.configuration.learner import LearnerConfig

Precision = Literal["32-true", "bf16-mixed"]


def on_cuda(settings: LearnerConfig) -> bool:
    """Whether a run with these settings trains on CUDA here, as Lightning decides it."""
    return settings.accelerator != "cpu" and torch.cuda.is_available()


def device_of(settings: LearnerConfig) -> torch.device:
    """The device of this process: of several on a machine each has its own, as its strategy will take it."""
    if not on_cuda(settings):
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def precision_of(settings: LearnerConfig) -> Precision:
    """The arithmetic of the learner; ``auto`` is bf16-mixed on CUDA and 32-true elsewhere."""
    if settings.precision != "auto":
        return settings.precision
    return "bf16-mixed" if on_cuda(settings) else "32-true"


def fuses(parameters: Iterable[Tensor]) -> bool:
    """Whether AdamW takes its step in one kernel: on CUDA, where torch's own choice takes several."""
    return all(parameter.device.type == "cuda" for parameter in parameters)


def described(settings: LearnerConfig) -> str:
    """One sentence for the log of a run."""
    if not on_cuda(settings):
        return f"trains in {precision_of(settings)} on the CPU"
    tf32 = torch.get_float32_matmul_precision() != "highest"
    return (
        f"trains in {precision_of(settings)} on {device_of(settings)}, AdamW in one kernel; "
        f"products of float32 matrices are {'rounded to TF32' if tf32 else 'exact (TF32 is off)'}"
    )
