"""Versions of what is installed, and whether everything of ours can be imported with it."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version

import torch

from benchmarks.gpu.bench import Bench

NEEDED = ("torch", "transformers", "lightning")
OPTIONAL = ("pydantic", "omegaconf", "peft", "flash_attn", "liger_kernel", "vllm")
MODULES = (
    "controllers.loop",
    "policies.model.loading",
    "policies.policy_loss",
    "policies.sharding",
    "policies.statistics.hidden_states",
    "policies.statistics.response_statistics",
    "policies.statistics.sensors",
    "orchestrator.training.learner",
    "orchestrator.training.run",
)


def versions_and_imports(bench: Bench) -> None:
    """Import what a run imports; a package that is missing is named with the module that asks for it."""
    for name in NEEDED:
        found = _version(name)
        bench.require(name, found is not None, found or "not installed")
    for name in OPTIONAL:
        bench.say(name, _version(name) or "not installed")
    for name in MODULES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            bench.require(f"import {name}", False, str(error))
        else:
            bench.require(f"import {name}", True, "works")
    if bench.is_gpu:
        bench.say("CUDA", str(torch.version.cuda))
        bench.require("bfloat16", torch.cuda.is_bf16_supported(), "computed in by this GPU", on="gpu")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
