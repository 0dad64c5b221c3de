"""Opens an engine that samples in the process that opens it: the learner's, or one of its own."""

from __future__ import annotations

from policies.model.loading import LoadedPolicy
from policies.rollouts.base import RolloutEngine
from policies.rollouts.settings import EngineSettings, Transformers, Vllm


def open_in_process(settings: EngineSettings, policy: LoadedPolicy, *, max_batch_size: int) -> RolloutEngine:
    """The engine that samples in this process.

    Raises:
        TypeError: none is known for such settings.
    """
    if isinstance(settings, Transformers):
        from policies.rollouts.transformers_engine import TransformersEngine

        return TransformersEngine(
            policy.model,
            pad_id=policy.pad_id,
            stop_ids=policy.stop_ids,
            masked_ids=policy.masked_ids,
            max_batch_size=max_batch_size,
        )
    if isinstance(settings, Vllm):
        from policies.rollouts.vllm_engine import VllmEngine

        return VllmEngine(policy, settings, max_batch_size=max_batch_size)
    raise TypeError(f"no engine is known for {type(settings).__name__}")
