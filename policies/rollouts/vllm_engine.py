"""Rollouts by vLLM in the learner's own process, on the learner's own device."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from policies.rollouts.base import Completion, Sampling, check_context
from policies.rollouts.engine_group import EngineGroup
from policies.rollouts.preserve_process_state import undisturbed
from policies.rollouts.vllm_support import why_no_head, why_no_vllm
from policies.rollouts.vllm_worker import EXTENSION
from policies.rollouts.weight_pushing import PushedEngine, completion, joined, requests
from policies.rollouts.weights import save_configuration, whole_weights

if TYPE_CHECKING:
    from policies.model.loading import LoadedPolicy
    from policies.rollouts.settings import Vllm

ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # in this process: deterministic, and weights need no copy
    "VLLM_NO_USAGE_STATS": "1",
}
BLOCK_TOKENS = 32  # on a CPU, where the default of 128 wastes a cache of short sequences


class VllmEngine(PushedEngine):
    """vLLM beside the learner, which takes turns with it.

    It is started with the configuration alone and random weights, since those of the policy are pushed
    anyway.  With ``sleep`` its memory is the learner's outside a `session`: what is discarded then is pushed again.
    Torch's cache is emptied before vLLM maps its memory back and after it gives it up, as TRL and verl do.

    Each rank has an engine of its own, or ``tensor_parallel_size`` of them have one together (`EngineGroup`).
    """

    def __init__(self, policy: LoadedPolicy, settings: Vllm, *, max_batch_size: int) -> None:
        super().__init__(policy, push_every=settings.push_every)
        self.settings = settings
        self.max_batch_size = max_batch_size
        self._llm: Any = None
        self._owns_process_group = False
        self._partners = EngineGroup()

    @property
    def context(self) -> int:
        """Tokens of the longest sequence, prompt and response together."""
        own = int(self.policy.model.config.get_text_config().max_position_embeddings)
        return own if self.settings.max_model_len is None else min(own, self.settings.max_model_len)

    def _load(self, version: int) -> None:
        with undisturbed():
            if self._llm is None:
                self._start()
            elif self._can_sleep:
                empty_cache()  # the learner's freed memory is still torch's, and vLLM maps its own back
                self._llm.wake_up(tags=["weights"])
            self._llm.collective_rpc(
                "push_tensors", args=(whole_weights(self.policy), self.policy.masked_ids)
            )
            self._llm.llm_engine.set_weight_version(str(version))
            self._llm.reset_prefix_cache()

    def _wake(self) -> None:
        if self._can_sleep:
            with undisturbed():
                empty_cache()  # of what the push gathered
                self._llm.wake_up(tags=["kv_cache"])

    def _rest(self) -> None:
        self._partners.stay(self._sample)
        if self._can_sleep:
            with undisturbed():
                self._llm.sleep(level=2)
                self._version = None
                empty_cache()

    def _generate(
        self, prompts: Sequence[Tensor], num_samples: int, sampling: Sampling
    ) -> list[list[Completion]]:
        check_context(prompts, sampling.max_tokens, self.context)
        asked = [
            [
                (prompt.tolist(), each)
                for each in requests(sampling, number, num_samples, self.policy.stop_ids)
            ]
            for number, prompt in enumerate(prompts)
        ]
        answers = iter(self._partners.ask([each for group in asked for each in group], self._sample))
        groups = [joined(islice(answers, len(group)), num_samples) for group in asked]
        self._tell(len(prompts) * num_samples)
        return groups

    def _sample(self, asked: list[tuple[list[int], dict[str, Any]]]) -> list[list[Completion]]:
        """The samples of each prompt, given with its ``SamplingParams``."""
        from vllm import SamplingParams

        with undisturbed():
            outputs = self._llm.generate(
                [{"prompt_token_ids": prompt} for prompt, _ in asked],
                [SamplingParams(**parameters) for _, parameters in asked],
                use_tqdm=False,
            )
        return [[_completion(sample) for sample in output.outputs] for output in outputs]

    @property
    def _can_sleep(self) -> bool:
        return self.settings.sleep and self.policy.model.device.type == "cuda"

    @property
    def _head_dim(self) -> int:
        config = self.policy.model.config.get_text_config()
        own = getattr(config, "head_dim", None)
        return int(own or config.hidden_size // config.num_attention_heads)

    def _start(self) -> None:
        on_gpu = self.policy.model.device.type == "cuda"
        if reason := why_no_vllm() or (None if on_gpu else why_no_head(self._head_dim)):
            raise RuntimeError(reason)
        os.environ |= ENVIRONMENT
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        from vllm import LLM

        settings = self.settings
        dtype = settings.dtype if settings.dtype != "auto" else "bfloat16" if on_gpu else "float32"
        cache_gib = settings.cache_gib or (None if on_gpu else 1.0)
        initialized = torch.distributed.is_available() and torch.distributed.is_initialized()
        self._owns_process_group = not initialized
        several = initialized and torch.distributed.get_world_size() > 1
        self._partners = EngineGroup(settings.tensor_parallel_size)
        with tempfile.TemporaryDirectory() as folder:
            save_configuration(self.policy, Path(folder))
            self._llm = LLM(
                model=folder,
                load_format="dummy",
                dtype=dtype,
                max_model_len=self.context,
                max_num_seqs=self.max_batch_size,
                enforce_eager=settings.enforce_eager or not on_gpu,
                gpu_memory_utilization=settings.memory_fraction,
                kv_cache_memory_bytes=None if cache_gib is None else int(cache_gib * 2**30),
                enable_sleep_mode=self._can_sleep,
                logprobs_mode="processed_logprobs",
                generation_config="vllm",
                worker_extension_cls=EXTENSION,
                tensor_parallel_size=settings.tensor_parallel_size,
                # Ranks start their engines, or their parts of one, with the process group that is there.
                **({"distributed_executor_backend": "external_launcher"} if several else {}),
                **({} if on_gpu else {"block_size": BLOCK_TOKENS}),
            )

    def close(self) -> None:
        if self._llm is None:
            return
        from vllm.distributed.parallel_state import destroy_distributed_environment, destroy_model_parallel

        with undisturbed():
            self._llm.llm_engine.engine_core.shutdown()
            self._llm, self._version = None, None
            gc.collect()
            destroy_model_parallel()
            if self._owns_process_group:
                destroy_distributed_environment()
            empty_cache()


def empty_cache() -> None:
    """Give back the memory that torch keeps for tensors to come; nothing without a GPU."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _completion(sample: Any) -> Completion:
    tokens = list(sample.token_ids)
    return completion(
        tokens,
        [at[token].logprob for at, token in zip(sample.logprobs, tokens, strict=True)],
        _counts(sample.weight_versions),
        finished=sample.finish_reason == "stop",
    )


def _counts(spans: Iterable[Any]) -> list[tuple[int, int]]:
    return [(int(span.version), span.end - span.start) for span in spans]
