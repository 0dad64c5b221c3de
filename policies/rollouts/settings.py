"""The settings of a rollout engine: the part ``rollout.engine`` of a campaign."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from policies.rollouts.vllm_support import GPU_TRANSFERS, why_no_vllm

_ADDRESS = re.compile(r"https?://([^/?#]*@)?(\[[^\]]*\]|[^:/?#@]*)(:\d*)?([/?#][^@]*)?\Z")


class EngineSettings:
    """A kind of engine with its settings; `open_engine` makes the engine of them."""

    kind: ClassVar[str]

    execution_only: ClassVar[tuple[str, ...]] = ()
    """Settings that change no result, so that a run may go on with others."""

    def why_unavailable(self) -> str | None:
        """What this installation lacks to run it, and the cure; None where it lacks nothing."""
        return None


@dataclass(frozen=True, kw_only=True)
class Transformers(EngineSettings):
    """transformers `generate` with the learner's own model: no second copy, never stale."""

    kind: ClassVar[str] = "transformers"


@dataclass(frozen=True, kw_only=True)
class Vllm(EngineSettings):
    """vLLM in the learner's process, taking turns with it on the same device."""

    kind: ClassVar[str] = "vllm"
    execution_only: ClassVar[tuple[str, ...]] = (
        "tensor_parallel_size", "memory_fraction", "cache_gib", "sleep",
    )  # fmt: skip

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of weights and cache; ``auto`` is bfloat16 on a GPU and float32 on a CPU."""
    tensor_parallel_size: int = 1
    """GPUs that hold one engine together, for a model too large for its share of one; divides ``learner.devices``."""
    memory_fraction: float = 0.35
    """Share of a GPU's memory for weights and cache; the rest is the learner's."""
    cache_gib: float | None = None
    """Size of the cache [GiB]; null is what ``memory_fraction`` leaves on a GPU, and 1 on a CPU."""
    max_model_len: int | None = None
    """Longest sequence, prompt and response together [tokens]; null is the model's context."""
    enforce_eager: bool = False
    """Whether to do without compilation and CUDA graphs: starts sooner, samples slower; always so on a CPU."""
    push_every: int = 1
    """Updates between two pushes of weights; above 1 samples are that much off-policy."""
    sleep: bool = False
    """Whether to give the memory back to the learner between rollouts; only on a GPU."""

    def __post_init__(self) -> None:
        if self.tensor_parallel_size < 1:
            raise ValueError(f"tensor_parallel_size must be at least 1, got {self.tensor_parallel_size}")
        if not 0.0 < self.memory_fraction <= 1.0:
            raise ValueError(f"memory_fraction must be above 0 and at most 1, got {self.memory_fraction}")
        if self.cache_gib is not None and not self.cache_gib > 0.0:
            raise ValueError(f"cache_gib must be above 0, or null, got {self.cache_gib}")
        if self.max_model_len is not None and self.max_model_len < 2:
            raise ValueError(f"max_model_len must be at least 2, or null, got {self.max_model_len}")
        check_push_every(self.push_every)
        if self.sleep and self.push_every > 1:
            raise ValueError(
                f"push_every must be 1 with sleep, which discards the weights after each rollout, got {self.push_every}"
            )

    def why_unavailable(self) -> str | None:
        return why_no_vllm()


@dataclass(frozen=True, kw_only=True)
class VllmServer(EngineSettings):
    """vLLM servers over HTTP: prompts are dealt over replicas, weights pushed to each."""

    kind: ClassVar[str] = "vllm_server"
    execution_only: ClassVar[tuple[str, ...]] = (
        "urls", "folder", "timeout_seconds", "retries", "backoff_seconds",
    )  # fmt: skip

    urls: tuple[str, ...]
    """One a replica, such as ``http://127.0.0.1:8000``; `policies.rollouts.vllm_launch` starts them."""
    transfer: Literal["folder", "adapter", "nccl", "ipc"] = "folder"
    """How weights get there: a model ``folder`` on a disk that servers see too, the LoRA ``adapter`` alone, or in
    bfloat16 from GPU to GPU: ``nccl`` to servers on GPUs of their own, ``ipc`` to servers on those of the learner."""
    folder: str | None = None
    """Folder that weights are written to for the servers; null is inside the run's folder."""
    push_every: int = 1
    """Updates between two pushes of weights; above 1 samples are that much off-policy."""
    timeout_seconds: float = 600.0
    """Longest wait for one answer [s]."""
    retries: int = 5
    """Attempts after the first at a server that does not answer."""
    backoff_seconds: float = 1.0
    """Wait before the first of them [s]; it doubles, up to 30 s."""

    def __post_init__(self) -> None:
        wrong = [url for url in self.urls if not url.startswith(("http://", "https://"))]
        if not self.urls or wrong:
            raise ValueError(
                f"urls must name at least one server, each with http:// or https://, got {list(self.urls)}"
            )
        if not all(map(_ADDRESS.match, self.urls)):
            raise ValueError(
                "urls must be of the form http://host:port, with / @ : # ? % in a password as %2F %40 %3A %23 %3F %25"
            )
        if len(set(self.urls)) < len(self.urls):
            raise ValueError(f"urls must differ, got {list(self.urls)}")
        check_push_every(self.push_every)
        for name in ("timeout_seconds", "backoff_seconds"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.retries < 0:
            raise ValueError(f"retries must be at least 0, got {self.retries}")

    def why_unavailable(self) -> str | None:
        return why_no_vllm() if self.between_gpus else None

    @property
    def between_gpus(self) -> bool:
        """Whether weights go from GPU to GPU, by vLLM's own means."""
        return self.transfer in GPU_TRANSFERS


def check_push_every(push_every: int) -> None:
    """Refuse what is no number of updates."""
    if push_every < 1:
        raise ValueError(f"push_every must be at least 1, got {push_every}")


ENGINES: dict[str, type[EngineSettings]] = {engine.kind: engine for engine in EngineSettings.__subclasses__()}
