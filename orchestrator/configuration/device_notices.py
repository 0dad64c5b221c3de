"""Notices about the machines of a campaign: what GPUs change, and what a job's time limit needs."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.resolve import Campaign
from orchestrator.execution.devices import visible_gpus
from orchestrator.execution.local import Local
from orchestrator.execution.slurm import Slurm
from policies.model.sources import BUILTIN
from policies.rollouts.settings import Transformers


def device_notices(campaign: Campaign) -> list[str]:
    """One line for each thing to bear in mind, with the key that it is about."""
    configs = [arm.config for arm in campaign.arms]
    executor = campaign.config.execution.executor
    if isinstance(executor, Slurm):
        return list(dict.fromkeys(notice for config in configs for notice in _saves(config, executor)))
    on_gpu = [config for config in configs if config.learner.accelerator != "cpu"]
    gpus = visible_gpus() if on_gpu and isinstance(executor, Local) else ()
    if not gpus:
        return []
    return [
        *_slots(on_gpu, campaign.config.execution.workers, len(gpus)),
        *dict.fromkeys(notice for config in on_gpu for notice in _defaults(config)),
    ]


def _saves(config: RunConfig, executor: Slurm) -> Iterator[str]:
    minutes = config.learner.checkpoint_minutes
    if config.guardrails.with_action("rollback"):
        yield (
            f"learner.checkpoint_every: {config.learner.checkpoint_every} iterations alone say when a run that may roll "
            f"back is saved, neither the clock nor a signal; keep them well below the {executor.time_minutes} minutes of a "
            "SLURM job"
        )
    elif minutes is None or minutes >= executor.time_minutes:
        said = "null" if minutes is None else f"{minutes:g}"
        yield (
            f"learner.checkpoint_minutes: {said} is not below the {executor.time_minutes} minutes of a SLURM job, so "
            "a run whose iterations are long may end before it is saved, and begin again; lower it"
        )


def _slots(on_gpu: list[RunConfig], workers: int, num_gpus: int) -> Iterator[str]:
    each = max(config.learner.devices for config in on_gpu)
    if workers * each > num_gpus:
        fits = max(1, num_gpus // each)
        yield (
            f"execution.workers: {workers} runs at the same time, on {each} GPU{'s' * (each > 1)} each, share the "
            f"{num_gpus} that there {'is' if num_gpus == 1 else 'are'}, their memory and their time; "
            f"at most {fits} would have their own"
        )


def _defaults(config: RunConfig) -> Iterator[str]:
    if config.learner.precision == "auto":
        yield (
            "learner.precision: bf16-mixed, since there is a GPU; 32-true is exact, with TF32 off, and about 8 times "
            "slower"
        )
    if config.learner.precision == "32-true":
        yield (
            "learner.precision: 32-true multiplies exactly, with TF32 off, which takes a GPU about 8 times as long as "
            "bf16-mixed"
        )
    if isinstance(config.rollout.engine, Transformers) and config.policy.source != BUILTIN:
        yield (
            "rollout.engine: 'transformers' waits for the longest response of every batch; on a GPU vLLM is several "
            "times faster: pip install 'entrostat[vllm]' and set rollout.engine to vllm"
        )
