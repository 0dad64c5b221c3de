"""One attempt at a run: what it goes on from, and the parts that train it.

A run takes one attempt, or another after each rollback.  What it is is read once, by ``begin``, and handed on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as pl

from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.signals import reads_reference
from orchestrator.storage.activity import Activity, ActivityFile, Tell, keep_silent
from orchestrator.storage.guardrail_files import Rollback, forget_events, read_rollbacks
from orchestrator.storage.metrics_log import MetricsWriter
from orchestrator.storage.run_folder import RunFolder, RunInfo
from orchestrator.storage.samples import forget_samples
from orchestrator.training.activities import Activities
from orchestrator.training.batches import Batches
from orchestrator.training.best_policy import BestPolicy
from orchestrator.training.checkpoints import Checkpointer
from orchestrator.training.entropy_control import EntropyControl
from orchestrator.training.evaluation import Evaluator
from orchestrator.training.experience import Explorer
from orchestrator.training.finite import Finiteness
from orchestrator.training.going_on import GoingOn, go_on, where_to_go_on
from orchestrator.training.guardrails import Guardrails
from orchestrator.training.held_out import HeldOutSet, graders_of, held_out_sets
from orchestrator.training.learner import Learner
from orchestrator.training.profiling import Profiling
from orchestrator.training.prompts import PromptLoader
from orchestrator.training.prompts_in_flight import PromptsInFlight
from orchestrator.training.ranks import Ranks
from orchestrator.training.rollback import limits_of
from orchestrator.training.samples import SampleKeeper
from orchestrator.training.saves import Saves, add_notes, told_in
from orchestrator.training.start import load_reference, load_start, make_engine
from orchestrator.training.telling import record_confinement
from policies.model.loading import LoadedPolicy
from policies.model.reference import ReferencePolicy

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A run in its folder, as one process takes part in it."""

    folder: RunFolder
    info: RunInfo
    config: RunConfig
    """As entropy-aware initialisation leaves it."""
    policy: LoadedPolicy
    reference: ReferencePolicy | None
    ranks: Ranks
    tell: Tell
    """What the first rank says that the run is at."""
    found: GoingOn | None
    """The checkpoint that it goes on from; None at the beginning."""
    rollbacks: tuple[Rollback, ...]
    saves: Saves

    @property
    def seed(self) -> int:
        """The seed of all its draws."""
        return self.info.seed

    @property
    def checkpoint(self) -> Path | None:
        """The file that it goes on from."""
        return self.found.path if self.found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What trains: the learner, and what stands beside it, in the order in which it is called."""

    prompts: PromptLoader
    learner: Learner
    activities: Activities
    control: EntropyControl
    finiteness: Finiteness
    guardrails: Guardrails
    evaluator: Evaluator
    checkpointer: Checkpointer
    profiling: Profiling

    @property
    def callbacks(self) -> list[pl.Callback]:
        """What Lightning calls between the learner's steps."""
        return [
            self.profiling,
            self.activities,
            self.control,
            self.finiteness,
            self.guardrails,
            self.evaluator,
            self.checkpointer,
        ]


def begin(folder: RunFolder, info: RunInfo, config: RunConfig, ranks: Ranks) -> Attempt:
    """Load the policy; the first rank leaves in the folder what belongs to the checkpoint that is gone on from."""
    found, rollbacks = where_to_go_on(folder, ranks=ranks), tuple(read_rollbacks(folder.rollbacks_path))
    if ranks.is_first:
        _tidy(folder, found, len(rollbacks))
    saves = told_in(folder) if ranks.is_first else Saves()
    tell: Tell = ActivityFile(folder.path) if ranks.is_first else keep_silent
    num_policies = 1 + reads_reference(config.loops)
    tell(Activity(name="loading", done=1, total=num_policies))
    config, policy = load_start(config, info.seed, folder, ranks, tell)
    tell(Activity(name="loading", done=num_policies, total=num_policies))
    return Attempt(
        folder=folder,
        info=info,
        config=config,
        policy=policy,
        reference=load_reference(config, policy, ranks),
        ranks=ranks,
        tell=tell,
        found=found,
        rollbacks=rollbacks,
        saves=saves,
    )


@contextmanager
def parts_of(attempt: Attempt) -> Iterator[Parts]:
    """The parts that train; graders, engine and record are closed at the end."""
    config, folder = attempt.config, attempt.folder
    is_first = attempt.ranks.is_first
    with (
        graders_of(config.task, attempt.info.execution) as graders,
        MetricsWriter(folder.metrics_path) if is_first else nullcontext() as writer,
        closing(make_engine(attempt.policy, config, folder.engine_path)) as engine,
        ExitStack() as further,
    ):
        if is_first:
            record_confinement(folder, graders.confinement)
        explorer = Explorer(
            task=config.task,
            policy=attempt.policy,
            engine=engine,
            limits=config.rollout.episode,
            graders=graders,
            ranks=attempt.ranks,
        )
        prompts = PromptLoader.of(config, attempt.seed)
        in_flight = None
        if config.rollout.in_flight is not None:
            in_flight = PromptsInFlight(
                explorer,
                prompts,
                config.rollout.in_flight,
                group_size=config.learner.group_size,
                max_wait=config.rollout.max_staleness - config.rollout.oldest_weights,
            )
        batches = Batches(
            explorer,
            prompts,
            group_size=config.learner.group_size,
            ahead=config.rollout.ahead,
            extra_rounds=config.rollout.extra_rounds,
            in_flight=in_flight,
        )
        with closing(batches):
            sets = held_out_sets(config.evaluation, explorer, attempt.info.execution, further)
            yield _assembled(attempt, explorer, batches, sets, writer)


def _assembled(
    attempt: Attempt,
    explorer: Explorer,
    batches: Batches,
    sets: Sequence[HeldOutSet],
    writer: MetricsWriter | None,
) -> Parts:
    config, num_rollbacks = attempt.config, len(attempt.rollbacks)
    limits = limits_of(config.loops, attempt.rollbacks) if attempt.rollbacks else None
    control = EntropyControl(
        config.loops, attempt.seed, limits, num_iterations=config.learner.iterations, **config.timing
    )
    told = attempt.folder if attempt.ranks.is_first else None
    guardrails = Guardrails(config, control, told, attempt=num_rollbacks)
    finiteness = Finiteness(control, attempt.ranks)
    best = None
    if config.evaluation.keep_best is not None:
        best = BestPolicy(attempt.folder, config, attempt.policy, attempt.ranks)
    activities = Activities(config, attempt.tell)
    evaluator = Evaluator(
        config=config,
        seed=attempt.seed,
        sets=sets,
        writer=writer,
        best=best,
        guardrails=guardrails,
        tell=activities.evaluate,
    )
    learner = Learner(
        config=config,
        seed=attempt.seed,
        explorer=explorer,
        batches=batches,
        control=control,
        guardrails=guardrails,
        writer=writer,
        reference=attempt.reference,
        samples=_sample_keeper(attempt) if attempt.ranks.is_first else None,
        num_redraws=sum(rollback.redraws for rollback in attempt.rollbacks),
    )
    minutes = config.learner.checkpoint_minutes
    checkpointer = Checkpointer(
        attempt.folder,
        every=config.learner.checkpoint_every,
        every_seconds=None if minutes is None else 60.0 * minutes,
        num_iterations=config.learner.iterations,
        is_good=(lambda: guardrails.is_good) if guardrails.can_end else None,
        rolls_back=guardrails.can_roll_back,
        ranks=attempt.ranks,
        start=(attempt.found.iteration if attempt.found else None, num_rollbacks),
        writer=writer,
        finiteness=finiteness,
        saves=attempt.saves,
    )
    iterations = attempt.info.execution.get("profile_iterations", ()) if attempt.ranks.is_first else ()
    return Parts(
        activities=activities,
        prompts=batches.prompts,
        learner=learner,
        control=control,
        finiteness=finiteness,
        guardrails=guardrails,
        evaluator=evaluator,
        checkpointer=checkpointer,
        profiling=Profiling(iterations, attempt.folder.profile_path),
    )


def _sample_keeper(attempt: Attempt) -> SampleKeeper:
    """What keeps samples, by the run's record; a run of an earlier version keeps none."""
    settings = attempt.info.execution.get("samples", {"number": 0})
    return SampleKeeper(
        folder=attempt.folder.samples_path,
        policy=attempt.policy,
        num_iterations=attempt.config.learner.iterations,
        **settings,
    )


def _tidy(folder: RunFolder, found: GoingOn | None, num_rollbacks: int) -> None:
    """Leave in the folder what belongs to the checkpoint that the run goes on from, and say what was found."""
    go_on(folder, found)
    iteration = found.iteration if found else 0
    forget_events(folder.events_path, iteration, num_rollbacks)
    forget_samples(folder.samples_path, iteration)
    if found and found.note:
        log.warning("%s", found.note)
        add_notes(folder, [found.note])
