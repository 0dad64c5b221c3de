"""Runs one run from its folder to its end; `orchestrator.training.worker` is its process.

It reads ``run.json``, continues from its last checkpoint if there is one, and writes nothing
outside its folder.  ``status.json`` says how it ended; the exit status says the same to a scheduler.
"""

from __future__ import annotations

import gc
import logging
import traceback
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from orchestrator.configuration.hub import silence_of
from orchestrator.configuration.learner import LearnerConfig
from orchestrator.configuration.models import RunConfig
from orchestrator.storage.best_file import read_best
from orchestrator.storage.guardrail_files import Event
from orchestrator.storage.run_folder import (
    RunBusyError,
    RunFolder,
    RunInfo,
    RunState,
)
from orchestrator.storage.stored_columns import store_columns
from orchestrator.training.attempt import Attempt, begin, parts_of
from orchestrator.training.best_policy import keep
from orchestrator.training.checkpoints import UnsavedError
from orchestrator.training.credentials import with_credentials
from orchestrator.training.device import (
    check_attention,
    check_device,
    described,
    device_of,
    precision_of,
)
from orchestrator.training.finite import NotFiniteError
from orchestrator.training.going_on import how_to_go_on
from orchestrator.training.guardrails import GuardrailStop, RollbackDue
from orchestrator.training.inputs import require_inputs
from orchestrator.training.out_of_memory import explained
from orchestrator.training.ranks import Ranks
from orchestrator.training.rollback import roll_back
from orchestrator.training.saves import add_notes
from orchestrator.training.shares import WholeCheckpoints, drop_unnamed
from orchestrator.training.software import SoftwareDiffersError, check_software
from orchestrator.training.stopping import Stopping, stop_on_signals
from orchestrator.training.strategy import environment_of, strategy_of
from orchestrator.training.telling import (
    interruption,
    stay_silent,
    tell_failure,
    tell_state,
)
from orchestrator.training.update import TrainingDivergedError
from policies.rollouts.base import EngineUnavailableError

EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 143
TOLD_AS = {
    NotFiniteError: TrainingDivergedError.__name__,
    SoftwareDiffersError: "ranks of different software",
    UnsavedError: "unsaved",
}
"""What the reason of a failure that all ranks know of begins with; `orchestrator.tuning` knows a run that diverged by it."""
LOCK_WAIT_SECONDS = 60.0

log = logging.getLogger(__name__)


def main(path: str) -> int:
    """Work on one run until it is done, fails or is told to stop; give the exit status."""
    folder, ranks = RunFolder(Path(path)), Ranks.of_environment()
    if not ranks.is_first:
        return _work(folder, ranks)
    try:
        with folder.lock(wait_seconds=LOCK_WAIT_SECONDS):
            return _work(folder, ranks)
    except RunBusyError as busy:  # the status belongs to the process that holds the run
        log.error("%s", busy)
        return EXIT_FAILED


def _work(folder: RunFolder, ranks: Ranks) -> int:
    info = folder.read_info()
    tell = partial(tell_state, folder, info) if ranks.is_first else stay_silent
    if ranks.is_first:
        folder.clear_unfinished()
        drop_unnamed(folder)
    tell("running")
    ending: tuple[RunState, str | None] = ("done", None)
    try:
        info = with_credentials(folder, info)
        with stop_on_signals(ranks):
            train(folder, info, ranks)
    except GuardrailStop as stop:
        unsaved = folder.read_status().reason  # of a run that goes on, why its last save failed
        ending = ("stopped", f"{stop}; {unsaved}" if unsaved else str(stop))
    except SIGTERMException:
        if ranks.is_first:
            tell("interrupted", interruption(folder))
        return EXIT_INTERRUPTED
    except EngineUnavailableError as error:  # nothing is wrong with the run, and it can go on
        log.error("%s", error)
        tell_state(folder, info, "interrupted", str(error))
        return EXIT_INTERRUPTED
    except tuple(TOLD_AS) as error:  # of all ranks: the first tells, and the others let it
        if ranks.is_first:
            log.error("%s", error)
            way_on = f"; {how_to_go_on(folder)}" if isinstance(error, NotFiniteError) else ""
            tell("failed", f"{TOLD_AS[type(error)]}: {error}{way_on}")
        ranks.gather(None)
        return EXIT_FAILED
    except TrainingDivergedError as error:
        log.error("%s", error)
        tell_failure(folder, info, ranks, f"{type(error).__name__}: {error}; {how_to_go_on(folder)}")
        return EXIT_FAILED
    except Exception as error:
        traceback.print_exc()
        tell_failure(folder, info, ranks, f"{type(error).__name__}: {error}")
        return EXIT_FAILED
    if ranks.is_first and (best := read_best(folder)) is not None:
        add_notes(folder, [best.sentence])
    tell(*ending)
    if ranks.is_first:
        _store_columns(folder)
    return EXIT_DONE


def _store_columns(folder: RunFolder) -> None:
    """They only make comparing faster: a run is no less over without."""
    try:
        store_columns(folder.metrics_path)
    except OSError as error:
        log.warning("the columns of the records are not stored: %s", error)


def train(folder: RunFolder, info: RunInfo, ranks: Ranks) -> None:
    """Train to the end, again from the last good checkpoint where a guardrail goes back to it."""
    config = RunConfig(**info.config)
    if (reason := silence_of(config)) is not None:
        log.info("the hub is not asked (%s): its cache is read", reason)
    check_device(config.learner)
    check_attention(config.policy.attention, config.learner)
    ranks.connect(device_of(config.learner))
    check_software(ranks)
    if ranks.is_first:
        log.info("%s", described(config.learner))
    while True:
        if ranks.is_first:
            require_inputs(config, info)
        try:
            return _train(begin(folder, info, config, ranks))
        except RollbackDue as due:
            event = due.event
        gc.collect()  # the policy that failed, before the next one is loaded
        _go_back(folder, config, event, ranks)


def _go_back(folder: RunFolder, config: RunConfig, event: Event, ranks: Ranks) -> None:
    """The first rank puts the checkpoint back; all go on from there, or none."""
    stop: str | None = None
    if ranks.is_first:
        try:
            roll_back(folder, config, event)
        except GuardrailStop as enough:
            stop = str(enough)
    stop = ranks.gather(stop)[0]
    if stop is not None:
        raise GuardrailStop(stop)


def _train(attempt: Attempt) -> None:
    """Train from the last checkpoint to the end, and keep the policy."""
    with parts_of(attempt) as parts:
        trainer = _trainer(attempt.config.learner, attempt.folder, attempt.ranks, parts.callbacks)
        try:
            trainer.fit(
                parts.learner,
                train_dataloaders=parts.prompts,
                ckpt_path=attempt.checkpoint,
                weights_only=True if attempt.checkpoint else None,
            )
        except torch.OutOfMemoryError as error:
            raise explained(error, attempt.config, attempt.policy, parts.learner.meter.now) from error
        iteration, last_iteration = parts.learner.iteration, parts.checkpointer.last_iteration
    if iteration < attempt.config.learner.iterations:
        raise RuntimeError(
            f"training ended after {iteration} of {attempt.config.learner.iterations} iterations; its checkpoint may "
            f"be of a shorter run; {how_to_go_on(attempt.folder)}"
        )
    if attempt.saves.wanting is not None:
        raise UnsavedError(
            f"it is trained, and nothing of it after iteration {last_iteration} is saved: {attempt.saves.wanting}; "
            "fix that and give the same command again to continue from there"
        )
    keep(attempt.policy, attempt.folder.policy_path, attempt.config, attempt.ranks)
    if attempt.ranks.is_first:
        attempt.folder.good_checkpoint_path.unlink(missing_ok=True)
        drop_unnamed(attempt.folder)


def _trainer(
    settings: LearnerConfig, folder: RunFolder, ranks: Ranks, callbacks: list[pl.Callback]
) -> pl.Trainer:
    """Lightning's trainer, with nothing of its own that writes or prints."""
    return pl.Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy=strategy_of(settings, ranks),
        plugins=[environment_of(ranks), WholeCheckpoints()],
        precision=precision_of(settings),
        max_epochs=1,
        callbacks=[*callbacks, Stopping(ranks, settings.iterations)],
        default_root_dir=folder.path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
