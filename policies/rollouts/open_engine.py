"""Opens the engine that its settings describe."""

from __future__ import annotations

from pathlib import Path

from policies.model.loading import LoadedPolicy
from policies.rollouts.base import RolloutEngine
from policies.rollouts.settings import EngineSettings, Transformers, Vllm, VllmServer


def open_engine(
    settings: EngineSettings, policy: LoadedPolicy, *, max_batch_size: int, scratch: Path
) -> RolloutEngine:
    """The engine for a policy.

    Args:
        settings: which engine, and how it is set up.
        policy: what it samples from, now and after every ``push``.
        max_batch_size: responses generated at once.
        scratch: a folder for what the engine has to leave on disk; it need not exist.

    Raises:
        TypeError: no engine is known for such settings.
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
    if isinstance(settings, VllmServer):
        from policies.rollouts.vllm_server import VllmServerEngine

        return VllmServerEngine(policy, settings, max_batch_size=max_batch_size, scratch=scratch)
    raise TypeError(f"no engine is known for {type(settings).__name__}")
