"""Opens the engine that its settings describe."""

from __future__ import annotations

from pathlib import Path

from policies.model.loading import LoadedPolicy
from policies.rollouts.base import RolloutEngine
from policies.rollouts.open_in_process import open_in_process
from policies.rollouts.settings import EngineSettings, VllmServer


def open_engine(
    settings: EngineSettings,
    policy: LoadedPolicy,
    *,
    max_batch_size: int,
    scratch: Path,
    apart: bool = False,
    half: bool = False,
) -> RolloutEngine:
    """The engine for a policy.

    Args:
        settings: which engine, and how it is set up.
        policy: what it samples from, now and after every ``push``.
        max_batch_size: responses generated at once.
        scratch: a folder for what the engine has to leave on disk; it need not exist.
        apart: whether it has to sample while the policy is updated: outside this process.
        half: whether an engine apart samples under bfloat16 autocast; one in this process does as its caller.

    Raises:
        TypeError: no engine is known for such settings.
    """
    if isinstance(settings, VllmServer):
        from policies.rollouts.vllm_server import VllmServerEngine

        return VllmServerEngine(policy, settings, max_batch_size=max_batch_size, scratch=scratch)
    if apart:
        from policies.rollouts.engine_process import EngineProcess

        return EngineProcess(policy, settings, max_batch_size=max_batch_size, scratch=scratch, half=half)
    return open_in_process(settings, policy, max_batch_size=max_batch_size)
