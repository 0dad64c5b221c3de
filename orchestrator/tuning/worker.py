"""The process of one worker: ``python -m orchestrator.tuning.worker STUDY.yaml --index N``.

It takes trials from the storage until the budget is used up.  Whatever kills it, the trial that it was at
is taken up by another; told to stop, it saves and lets go of the trial first.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from math import isfinite
from pathlib import Path
from typing import Any

from orchestrator.errors import ConfigError
from orchestrator.execution.base import Crew, Ending, ExecutorError
from orchestrator.execution.credentials import ANY_ARM, lent
from orchestrator.execution.runs import settle_run
from orchestrator.masking import mask_output
from orchestrator.storage.inputs import said
from orchestrator.storage.run_folder import CampaignFolder
from orchestrator.tuning.foretold import PREDICTED
from orchestrator.tuning.leases import Lease, Watch
from orchestrator.tuning.links import Links
from orchestrator.tuning.marks import (
    CONFIRMS,
    DUPLICATE,
    FAILED,
    OUTCOME,
    RANK,
    REASON,
    SURPLUS,
    UNTRAINED,
    close,
    counted,
    quietly,
    root,
)
from orchestrator.tuning.records import changed_inputs, storage_failures, why
from orchestrator.tuning.retries import is_redundant, take_up
from orchestrator.tuning.simulated import judge
from orchestrator.tuning.space import Params, suggest
from orchestrator.tuning.study import Study
from orchestrator.tuning.trial import TrainedTrial, TrialEnding

EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 143
WAIT_SECONDS = 1.0
RETRY_SECONDS = 5.0
"""Between two attempts at a storage that does not answer."""
OUTAGE_SECONDS = 300.0
"""How long it may be before the worker ends."""
TRIAL_FOLDER = "entrostat.folder"


class TrialWorker:
    """Works off trials of a study.

    Args:
        study: what is tuned.
        optuna_study: its Optuna study, opened by this process.
        links: makes a trial's MLflow run, so that both know of each other.
        until: seconds since 1970 after which no trial begins; None is never.
    """

    def __init__(self, study: Study, optuna_study: Any, links: Links, *, until: float | None = None) -> None:
        self._study = study
        self._optuna = optuna_study
        self._links = links
        self._until = until
        self._watch = Watch(study.config.lease_seconds)
        self._execution = study.campaign.config.execution
        self._stop = threading.Event()
        self._lease: Lease | None = None
        self._failing_since: float | None = None
        self._has_failed = False

    def stop(self, *_: object) -> None:
        """Save, let go of the trial and end."""
        self._stop.set()

    def run(self) -> int:
        """Take trials until none is left; give the exit status."""
        threads = self._execution.threads or self._execution.executor.threads(self._study.config.workers)
        try:
            with (
                lent({ANY_ARM: self._study.arm.plain}),
                self._execution.executor.connect(self._study.folder, threads) as crew,
            ):
                return self._work_off(crew)
        except ExecutorError as error:  # what it was at is taken up by the next that comes
            print(error)
            return EXIT_FAILED

    def _work_off(self, crew: Crew) -> int:
        while not self._stop.is_set():
            try:
                if self._go_on(crew):
                    return EXIT_FAILED if self._has_failed else EXIT_DONE
                self._failing_since = None
            except storage_failures() as error:
                if not self._stop.is_set() and not self._outlasts(error):
                    return EXIT_FAILED
        return EXIT_INTERRUPTED

    def _go_on(self, crew: Crew) -> bool:
        """Work on one trial, or wait for those of others; whether nothing is left to do."""
        if self._lease is not None:  # the storage failed in the middle of that trial, and may still do
            self._lease.release()
            self._lease = None
        trials = self._sweep()
        if self._may_begin(trials):
            if changed := changed_inputs(self._study, self._optuna):
                print(f"what trials read has changed: {said(changed)}; give the command again for what to do")
                self._has_failed = True
                return True
            self._work(self._optuna.ask(), crew)
        elif self._is_over(trials):
            return True
        else:  # others are at the last trials; one of them may die
            self._stop.wait(WAIT_SECONDS)
        return False

    def _outlasts(self, error: Exception) -> bool:
        """Wait for a storage that does not answer; whether to try again."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
            print(f"storage: {why(error)}; trying again for {OUTAGE_SECONDS:g} s")
        if now - self._failing_since > OUTAGE_SECONDS:
            print(f"storage: {why(error)}; check it, and the same command again continues")
            return False
        self._stop.wait(RETRY_SECONDS)
        return True

    def _sweep(self) -> list[Any]:
        """Queue what is abandoned, and give all trials as they are now."""
        for trial in self._watch.abandoned(self._trials()):
            reason = take_up(self._optuna, trial, self._study.config.retries)
            if reason:
                self._give_up(trial, reason)
        return self._trials()

    def _give_up(self, trial: Any, reason: str) -> None:
        """Say in the trial's folder that nobody goes on with it; MLflow is told from there."""
        folder = CampaignFolder(self._study.folder)
        name = folder_name(trial)
        for seed in self._study.seeds:
            if (run := folder.run(name, seed)).path.exists():
                settle_run(run, Ending(how=reason, is_lost=True))
        self._links.give_up(folder.path / name, reason)

    def _trials(self) -> list[Any]:
        trials: list[Any] = self._optuna.get_trials(deepcopy=False)
        return trials

    def _may_begin(self, trials: list[Any]) -> bool:
        if self._is_late():
            return False
        if self._study.is_confirmation:  # it trains what is in the queue and nothing else
            return any(trial.state.name == "WAITING" for trial in trials)
        return counted(trials) < self._study.config.budget.trials

    def _is_late(self) -> bool:
        return self._until is not None and time.time() > self._until

    def _is_over(self, trials: list[Any]) -> bool:
        return self._is_late() or not any(trial.state.name == "RUNNING" for trial in trials)

    def _work(self, trial: Any, crew: Crew) -> None:
        with Lease(trial, self._study.config.lease_seconds) as lease:
            self._lease = lease
            params = suggest(trial, self._study.config.space)
            if is_redundant(self._optuna, trial):
                close(self._optuna, trial, DUPLICATE, "it is in the queue twice")
            elif self._is_surplus(trial):
                close(self._optuna, trial, SURPLUS, "the budget is used up")
                self._give_up(
                    self._trials()[trial.number], "nobody went on with it and the budget is used up"
                )
            else:
                ending = self._train(trial, params, lease, crew)
                if ending.state == "stopped" and not lease.is_lost:
                    lease.release()
                elif not lease.is_lost:
                    self._tell(trial, ending)
        self._lease = None

    def _is_surplus(self, trial: Any) -> bool:
        """Whether another was faster: the budget is used up, or the queue was empty and this is none of it."""
        trials = self._trials()
        if self._study.is_confirmation and CONFIRMS not in trials[trial.number].user_attrs:
            return True
        return counted(trials, before=trial.number) >= self._study.config.budget.trials

    def _train(self, trial: Any, params: Params, lease: Lease, crew: Crew) -> TrialEnding:
        def interrupted() -> str:
            if lease.is_lost:
                return "another worker has taken the trial up"
            return "told to stop" if self._stop.is_set() else ""

        frozen = self._trials()[trial.number]
        name = folder_name(frozen)
        trained = TrainedTrial(self._study, trial, params, name, crew=crew, interrupted=interrupted)
        trial.set_user_attr(TRIAL_FOLDER, name)
        if self._study.config.simulation is not None:
            values = judge(self._study, [params])[0].values
            trial.set_user_attr(PREDICTED, [value if isfinite(value) else None for value in values])
        attributes = frozen.user_attrs
        self._links.begin(trained.path, trial, params, attributes.get(RANK), attributes.get(CONFIRMS))
        ending = trained.run()
        if not lease.is_lost:  # else another says how it ended
            self._links.end(trained.path, ending, self._study)
        return ending

    def _tell(self, trial: Any, ending: TrialEnding) -> None:
        from optuna.trial import TrialState

        with quietly():
            if ending.reason:
                trial.set_user_attr(REASON, ending.reason)
            for name, violation in ending.verdict.violations.items():
                trial.set_constraint(name, violation)
            if ending.state == "complete":
                self._optuna.tell(trial, list(ending.verdict.values))
            elif ending.state in ("pruned", "untrained"):
                if ending.state == "untrained":
                    trial.set_user_attr(OUTCOME, UNTRAINED)
                self._optuna.tell(trial, state=TrialState.PRUNED)
            else:
                close(self._optuna, trial, FAILED, ending.reason)


def folder_name(trial: Any) -> str:
    """Name of the folder of a trial's runs, which a retry shares with the trial that it continues."""
    confirms = trial.user_attrs.get(CONFIRMS)
    return f"trial-{root(trial):04d}" if confirms is None else f"confirm-{confirms:04d}"


def main(arguments: list[str]) -> int:
    """Read the study again, open its storage and work."""
    from orchestrator.tracking.tracker import Tracker
    from orchestrator.training.worker import stop_with_parent
    from orchestrator.tuning.confirmation import continue_confirmation
    from orchestrator.tuning.reading import read_study
    from orchestrator.tuning.records import open_for, open_study
    from orchestrator.tuning.storage import storage_url
    from orchestrator.tuning.training import OVERRIDES

    parser = argparse.ArgumentParser()
    parser.add_argument("study", type=Path)
    parser.add_argument(
        "--index", type=int, required=True, help="tells processes apart; changes nothing else"
    )
    parser.add_argument("--storage", help="instead of the study's")
    parser.add_argument("--tracking", help="instead of the campaign's")
    parser.add_argument("--until", type=float)
    parser.add_argument("--confirm", action="store_true", help="train the best trials again on fresh seeds")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    given = parser.parse_args(arguments)
    try:
        study = read_study(given.study, [*json.loads(os.environ.pop(OVERRIDES, "[]")), *given.overrides])
        url = given.storage or storage_url(study.config.storage, study.folder)
        uri = given.tracking or study.campaign.tracking_uri
        storage = open_for(study, url, uri)
        found = open_study(study, storage)
        if given.confirm:
            study, found = continue_confirmation(study, storage)
    except ConfigError as error:
        print(error)
        return EXIT_FAILED
    links = Links(Tracker(CampaignFolder(study.folder), uri, warn=print), url)
    worker = TrialWorker(study, found, links, until=given.until)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, worker.stop)
    threading.Thread(target=stop_with_parent, daemon=True).start()
    return worker.run()


if __name__ == "__main__":
    mask_output()
    sys.exit(main(sys.argv[1:]))
