"""The start of a run: its policy, with enough entropy if the configuration asks for it."""

from __future__ import annotations

import logging
import random
from contextlib import closing
from dataclasses import asdict, replace
from functools import lru_cache, partial
from pathlib import Path

import torch

from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.policy import PolicyConfig
from orchestrator.storage.run_folder import RunFolder
from orchestrator.storage.sealed import read_sealed, write_sealed
from orchestrator.training.device import device_of, precision_of
from orchestrator.training.experience import Explorer
from orchestrator.training.seeds import derive_seed
from policies.initialisation import Start, choose_start, rollout_entropy
from policies.model.loading import LoadedPolicy, built_in, load_pretrained
from policies.model.prompt_start import start_ids
from policies.model.recompute import recompute_activations
from policies.model.sources import BUILTIN
from policies.model.trainable import add_adapters, train_last_layers
from policies.rollouts.base import RolloutEngine, Sampling
from policies.rollouts.open_engine import open_engine
from tasks import Task
from tasks.demonstrations import demonstration

log = logging.getLogger(__name__)


def load_start(config: RunConfig, seed: int, folder: RunFolder) -> tuple[RunConfig, LoadedPolicy]:
    """The policy of a run, and its configuration as entropy-aware initialisation leaves it.

    What was decided is kept in the run's folder, so that a continued run starts from the same.
    """
    if config.policy.initialisation.floor_nats is None:
        return config, load_policy(config)
    load = lru_cache(maxsize=1)(lambda seed: load_policy(_drawn_with(config, seed)))
    if folder.start_path.exists():
        start = Start(**read_sealed(folder.start_path))
    else:
        start = choose_start(
            config.policy.initialisation,
            seed=config.policy.warm_start.seed,
            temperature=config.rollout.temperature,
            entropy=lambda draw, temperature: _first_entropy(
                load(draw), config, seed, temperature, folder.engine_path
            ),
        )
        write_sealed(folder.start_path, asdict(start))
    _report(start, config)
    rollout = config.rollout.model_copy(update={"temperature": start.temperature})
    config = _drawn_with(config, start.seed).model_copy(update={"rollout": rollout})
    return config, load(start.seed)


def load_policy(config: RunConfig) -> LoadedPolicy:
    """The policy that a run starts from, with what is trained of it and how it is spoken to.

    Raises:
        ValueError: it cannot be loaded, or not be used as the configuration says.
    """
    policy = _load(config.policy, config.task).stopping_at(config.rollout.stop)
    policy = replace(policy, chat=config.policy.chat, bos=config.policy.bos)
    policy.encode("?")  # a chat template that is missing, or refuses the system's turn, shows now
    if policy.chat is None and (first := start_ids(policy.tokenizer, policy.bos)):
        log.info("prompts begin with %r", "".join(policy.tokenizer.convert_ids_to_tokens(first)))
    if policy.masked_ids:
        log.info(
            "%d of the %d logits belong to no token and are never sampled",
            len(policy.masked_ids),
            policy.vocabulary_size + len(policy.masked_ids),
        )
    if config.policy.lora is not None:
        add_adapters(policy.model, config.policy.lora)
    if config.policy.trainable_layers is not None:
        train_last_layers(policy.model, config.policy.trainable_layers)
    if config.learner.recompute_activations:
        recompute_activations(policy.model)
    return policy


def _load(settings: PolicyConfig, task: Task) -> LoadedPolicy:
    if settings.source != BUILTIN:
        return load_pretrained(settings.source, trust_remote_code=settings.trust_remote_code)
    demonstrations = partial(_demonstrations, task, settings)
    return built_in(settings.architecture, settings.warm_start, task.alphabet(), demonstrations)


def make_engine(policy: LoadedPolicy, config: RunConfig, scratch: Path) -> RolloutEngine:
    """The rollout engine that a run names; ``scratch`` is where it may leave files."""
    rollout = config.rollout
    return open_engine(
        rollout.engine,
        policy,
        max_batch_size=rollout.max_batch_size,
        scratch=scratch,
        apart=rollout.ahead > 0,
        half=precision_of(config.learner) == "bf16-mixed",
    )


def _first_entropy(
    policy: LoadedPolicy, config: RunConfig, seed: int, temperature: float, scratch: Path
) -> float:
    """Entropy of the very rollouts that iteration 0 is going to sample [nats/token]."""
    if (device := device_of(config.learner)).type == "cuda":
        torch.cuda.set_device(device)  # as the strategy will: an engine takes the current one
        policy.model.to(device)
    learner, task, prompts_seed = config.learner, config.task_at(0), derive_seed(seed, "prompts")
    problems = [task.problem("train", prompts_seed, i) for i in range(learner.prompts_per_iteration)]
    sampling = Sampling(
        temperature=temperature, max_tokens=config.rollout.max_tokens, seed=derive_seed(seed, "rollout", 0)
    )
    with closing(make_engine(policy, config, scratch)) as engine:
        explorer = Explorer(task=config.task, policy=policy, engine=engine, limits=config.rollout.episode)
        prompts = explorer.encode(problems)
        responses = explorer.sample(problems, prompts, learner.group_size, sampling)
    return rollout_entropy(
        policy,
        [prompt for prompt in prompts for _ in range(learner.group_size)],
        responses,
        temperature=temperature,
        micro_batch_size=learner.micro_batch_size,
    )


def _report(start: Start, config: RunConfig) -> None:
    settings = config.policy.initialisation
    measured = f"initial entropy {start.entropy_nats:.3f} nats/token, floor {settings.floor_nats:g}"
    if settings.floor_nats is not None and start.entropy_nats < settings.floor_nats:
        log.warning("%s: accepted below the floor; learning may stall", measured)
    elif start.num_attempts == 1:
        log.info("%s: met at once", measured)
    elif settings.action == "redraw":
        log.info("%s: met by policy %d, of seed %d", measured, start.num_attempts, start.seed)
    else:
        configured = config.rollout.temperature
        log.info("%s: sampling temperature raised from %g to %g", measured, configured, start.temperature)


def _drawn_with(config: RunConfig, seed: int) -> RunConfig:
    """The same run from a policy that is drawn with another seed."""
    start = replace(config.policy.warm_start, seed=seed)
    return config.model_copy(update={"policy": config.policy.model_copy(update={"warm_start": start})})


def _demonstrations(task: Task, settings: PolicyConfig, batch: int) -> list[list[str]]:
    """The n-th batch of imperfect demonstrations: problems that no run trains on in the same order."""
    start = settings.warm_start
    seed = derive_seed(start.seed, "demonstrations")
    shown = []
    for index in range(batch * start.batch_size, (batch + 1) * start.batch_size):
        problem = task.problem("train", seed, index)
        rng = random.Random(derive_seed(seed, index))  # nosec B311  # chance of problems, not of keys
        shown.append([problem.text, *demonstration(task, problem, rng, start.error_rate)])
    return shown
