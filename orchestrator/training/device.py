"""The device that a process trains on, and what follows from it where the configuration leaves it open."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from orchestrator.configuration.learner import LearnerConfig
from policies.statistics.packed_attention import HALF_ON_CUDA, Kernel

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
    """The arithmetic of the learner; ``auto`` is bf16-mixed on CUDA that computes in it, and 32-true elsewhere."""
    if settings.precision != "auto":
        return settings.precision
    return "bf16-mixed" if on_cuda(settings) and _has_bf16() else "32-true"


def check_device(settings: LearnerConfig) -> None:
    """Make sure that the devices of a run are there, and compute as it asks.

    Raises:
        ValueError: they are not, or do not.
    """
    if settings.accelerator == "gpu" and not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        raise ValueError(
            "learner.accelerator: 'gpu', and torch finds none; set it to 'auto' or 'cpu', or see why "
            f"torch {torch.__version__} has no device (its build, the driver, CUDA_VISIBLE_DEVICES)"
        )
    if not on_cuda(settings):
        return
    if (there := torch.cuda.device_count()) < settings.devices:
        raise ValueError(
            f"learner.devices: {settings.devices} processes of a machine take a GPU each, and this one sees {there} "
            f"(CUDA_VISIBLE_DEVICES is {os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')}); lower it, or give the "
            "run more"
        )
    if settings.precision == "bf16-mixed" and not _has_bf16():
        raise ValueError(
            f"learner.precision: 'bf16-mixed', and a {torch.cuda.get_device_name()} does not compute in bfloat16; "
            "set it to 'auto' or '32-true'"
        )


def check_attention(kernel: Kernel, settings: LearnerConfig) -> None:
    """Make sure that a kernel that is asked for by name computes what this learner gives it.

    Raises:
        ValueError: it does not.
    """
    if kernel in HALF_ON_CUDA and not (on_cuda(settings) and precision_of(settings) == "bf16-mixed"):
        raise ValueError(
            f"policy.attention: {kernel!r} computes in bfloat16 on CUDA alone, and this run {described(settings)}; "
            "set it to 'auto'"
        )
    if kernel == "flex" and not on_cuda(settings):
        raise ValueError(
            f"policy.attention: 'flex' has a gradient on CUDA alone, and this run {described(settings)}; set it to 'auto'"
        )


def _has_bf16() -> bool:
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def fuses(parameters: Iterable[Tensor]) -> bool:
    """Whether AdamW takes its step in one kernel: where there is one; torch's own choice takes several."""
    return all(parameter.device.type in ("cuda", "cpu") for parameter in parameters)


def described(settings: LearnerConfig) -> str:
    """One sentence for the log of a run."""
    if not on_cuda(settings):
        return f"trains in {precision_of(settings)} on the CPU"
    tf32 = torch.get_float32_matmul_precision() != "highest"
    return (
        f"trains in {precision_of(settings)} on {device_of(settings)}, AdamW in one kernel; "
        f"products of float32 matrices are {'rounded to TF32' if tf32 else 'exact (TF32 is off)'}"
    )
