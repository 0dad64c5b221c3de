"""The start of a run: its policy, with enough entropy if the configuration asks for it."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from functools import lru_cache, partial
from pathlib import Path

import torch

from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.policy import PolicyConfig
from orchestrator.configuration.signals import reads_reference
from orchestrator.storage.activity import Activity, Tell, keep_silent
from orchestrator.storage.run_folder import RunFolder
from orchestrator.storage.sealed import read_sealed, write_sealed
from orchestrator.training.device import device_of, precision_of
from orchestrator.training.experience import Explorer
from orchestrator.training.prompts import PromptLoader
from orchestrator.training.ranks import Ranks
from orchestrator.training.seeds import derive_seed
from policies.initialisation import Start, choose_start, rollout_entropy
from policies.model.built_in import FINGERPRINTED, built_in_folder
from policies.model.loading import LoadedPolicy, load_pretrained, load_unfilled
from policies.model.recompute import recompute_activations
from policies.model.reference import START, ReferencePolicy
from policies.model.sources import BUILTIN
from policies.model.trainable import add_adapters, train_last_layers
from policies.rollouts.base import RolloutEngine, Sampling
from policies.rollouts.open_engine import open_engine
from policies.sharding import given_back, shard
from policies.statistics.packed_attention import pack_rows
from policies.statistics.response_statistics import token_values
from tasks import Task
from tasks.demonstrations import demonstration

log = logging.getLogger(__name__)


def load_start(
    config: RunConfig,
    seed: int,
    folder: RunFolder,
    ranks: Ranks | None = None,
    tell: Tell = keep_silent,
) -> tuple[RunConfig, LoadedPolicy]:
    """The policy of a run, and its configuration as entropy-aware initialisation leaves it.

    What was decided is kept in the run's folder, so that a continued run starts from the same.  The first of several
    ranks decides, by rollouts of all of them; all of them come here.
    """
    ranks = ranks or Ranks()
    if config.policy.warm_start.seed is None:
        config = _drawn_with(config, seed)
    if config.policy.initialisation.floor_nats is None:
        return config, load_policy(config, ranks, tell)
    load = lru_cache(maxsize=1)(lambda seed: load_policy(_drawn_with(config, seed), ranks, tell))
    decided = ranks.of_first(folder.start_path.exists() and read_sealed(folder.start_path))
    if decided:
        start = Start(**decided)
    else:
        start = choose_start(
            config.policy.initialisation,
            seed=config.policy.warm_start.known_seed,
            temperature=config.rollout.temperature,
            entropy=lambda draw, temperature: ranks.of_first(
                _first_entropy(load(draw), config, seed, temperature, folder.engine_path, ranks)
            ),
        )
        if ranks.is_first:
            write_sealed(folder.start_path, asdict(start))
    if ranks.is_first:
        _report(start, config)
    rollout = config.rollout.model_copy(update={"temperature": start.temperature})
    config = _drawn_with(config, start.seed).model_copy(update={"rollout": rollout})
    return config, load(start.seed)


def load_policy(config: RunConfig, ranks: Ranks | None = None, tell: Tell = keep_silent) -> LoadedPolicy:
    """The policy that a run starts from, with what is trained of it and how it is spoken to.

    Under ``fsdp2`` several ``ranks`` share it: all of them come here, and each reads its share.  ``tell`` is told how
    far a warm start is.

    Raises:
        ValueError: it cannot be loaded, or not be used as the configuration says.
    """
    return _loaded(config, config.policy, ranks, lambda policy: _as_configured(policy, config), tell)


def load_reference(
    config: RunConfig, policy: LoadedPolicy, ranks: Ranks | None = None
) -> ReferencePolicy | None:
    """The policy that a loop of the run compares the trained ``policy`` with; None where no loop does.

    ``config`` is as entropy-aware initialisation leaves it, so what the run started from is loaded again.  It is
    shared as the policy is.

    Raises:
        ValueError: it cannot be loaded, or has other tokens.
    """
    if not reads_reference(config.loops):
        return None
    settings = config.policy
    if settings.reference == START and settings.lora is not None:
        return ReferencePolicy.within(policy)
    if settings.reference != START:
        settings = settings.model_copy(update={"source": settings.reference})
    reference = _loaded(config, settings, ranks, lambda reference: _pack(reference, config))
    return ReferencePolicy.beside(reference, policy)


def _loaded(
    config: RunConfig,
    settings: PolicyConfig,
    ranks: Ranks | None,
    prepare: Callable[[LoadedPolicy], LoadedPolicy],
    tell: Tell = keep_silent,
) -> LoadedPolicy:
    """A policy, whole or this rank's share of it; ``prepare`` changes its model before it is shared out."""
    source = _source(settings, config.task, tell)
    if ranks is None or ranks.size == 1 or config.learner.strategy != "fsdp2":
        return prepare(load_pretrained(source, trust_remote_code=settings.trust_remote_code))
    unfilled = load_unfilled(source, trust_remote_code=settings.trust_remote_code)
    policy, device = prepare(unfilled.policy), device_of(config.learner)
    half = precision_of(config.learner) != "32-true"
    shard(policy.model, ranks.mesh(device), half=half, run=token_values)
    unfilled.fill(device)
    return policy


def _as_configured(policy: LoadedPolicy, config: RunConfig) -> LoadedPolicy:
    policy = policy.stopping_at(config.rollout.stop)
    policy = replace(policy, chat=config.policy.chat, bos=config.policy.bos)
    policy.encode("?")  # a chat template that is missing, or refuses the system's turn, shows now
    if policy.start:
        log.info("prompts begin with %r", "".join(policy.tokenizer.convert_ids_to_tokens(list(policy.start))))
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
    _pack(policy, config)
    if config.learner.recompute_activations:
        recompute_activations(policy.model)
    return policy


def _pack(policy: LoadedPolicy, config: RunConfig) -> LoadedPolicy:
    if config.learner.tokens_per_micro_batch is not None:
        pack_rows(policy.model, config.policy.attention)
    return policy


def _source(settings: PolicyConfig, task: Task, tell: Tell) -> str:
    """What is loaded: the source as it is named, or the folder of a built-in policy."""
    if settings.source != BUILTIN:
        return settings.source

    def demonstrations(batch: int) -> list[list[str]]:
        if batch >= FINGERPRINTED:  # the first are asked for anyway, to find the start in the cache
            tell(Activity(name="warm start", done=batch, total=settings.warm_start.num_steps))
        return _demonstrations(task, settings, batch)

    return built_in_folder(settings.architecture, settings.warm_start, task.alphabet(), demonstrations)


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
    policy: LoadedPolicy, config: RunConfig, seed: int, temperature: float, scratch: Path, ranks: Ranks
) -> float:
    """Entropy of the very rollouts that iteration 0 is going to sample, by all ranks, each its share [nats/token]."""
    if (device := device_of(config.learner)).type == "cuda":
        torch.cuda.set_device(device)  # as the strategy will: an engine takes the current one
        policy.model.to(device)
    learner, problems = config.learner, PromptLoader.of(config, seed).problems(0)
    sampling = Sampling(
        temperature=temperature, max_tokens=config.rollout.max_tokens, seed=derive_seed(seed, "rollout", 0)
    )
    share = ranks.share(len(problems))
    ours = slice(share.start, share.stop)
    with closing(make_engine(policy, config, scratch)) as engine:
        explorer = Explorer(task=config.task, policy=policy, engine=engine, limits=config.rollout.episode)
        prompts = explorer.encode(problems)
        mine = explorer.sample(
            problems[ours], prompts[ours], learner.group_size, replace(sampling, first_prompt=share.start)
        )
    with given_back(policy.model):
        return rollout_entropy(
            policy,
            [prompt for prompt in prompts for _ in range(learner.group_size)],
            [response for part in ranks.gather(mine) for response in part],
            temperature=temperature,
            observe=partial(ranks.observe, policy, cut=learner.micro_batches),
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
    seed = derive_seed(start.known_seed, "demonstrations")
    shown = []
    for index in range(batch * start.batch_size, (batch + 1) * start.batch_size):
        problem = task.problem("train", seed, index)
        rng = random.Random(derive_seed(seed, index))  # nosec B311  # chance of problems, not of keys
        shown.append([problem.text, *demonstration(task, problem, rng, start.error_rate)])
    return shown
