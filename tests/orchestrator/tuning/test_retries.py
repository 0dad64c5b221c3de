"""A trial whose worker is gone is queued again once, and never twice."""

from __future__ import annotations

import optuna
from optuna.trial import TrialState

from orchestrator.tuning.marks import DUPLICATE, OUTCOME, RANK, REASON, close, counted, root
from orchestrator.tuning.retries import is_redundant, take_up
from tests.orchestrator.tuning.conftest import begin


def test_an_abandoned_trial_goes_on_with_its_parameters_and_its_runs(optuna_study):
    old = begin(optuna_study)
    old.set_user_attr(RANK, 3)
    take_up(optuna_study, optuna_study.trials[0], retries=3)
    assert optuna_study.trials[0].state == TrialState.FAIL
    assert optuna_study.trials[0].user_attrs[REASON] == "its worker died"
    new = optuna_study.ask()
    assert new.number == 1
    assert new.suggest_float("x", 0, 1) == old.params["x"]
    assert not is_redundant(optuna_study, new)
    assert root(optuna_study.trials[1]) == 0
    assert optuna_study.trials[1].user_attrs[RANK] == 3
    take_up(optuna_study, optuna_study.trials[1], retries=3)
    assert root(optuna_study.trials[2]) == 0


def test_two_that_notice_at_once_queue_it_twice_and_one_is_dropped(optuna_study):
    begin(optuna_study)
    seen = optuna_study.trials[0]
    take_up(optuna_study, seen, retries=3)
    retry = optuna_study.trials[1]
    optuna_study.add_trial(retry)  # the other one had looked before
    take_up(optuna_study, seen, retries=3)  # and a third comes late
    assert len(optuna_study.trials) == 3
    first, second = optuna_study.ask(), optuna_study.ask()
    assert not is_redundant(optuna_study, first)
    assert is_redundant(optuna_study, second)
    close(optuna_study, second, DUPLICATE, "twice")
    assert counted(optuna_study.trials) == 1


def test_who_dies_between_queueing_and_closing_leaves_it_to_the_next(optuna_study):
    begin(optuna_study)
    seen = optuna_study.trials[0]
    take_up(optuna_study, seen, retries=3)
    half = optuna.create_study(storage=optuna_study._storage, study_name="b")
    half.add_trial(optuna.trial.create_trial(state=TrialState.WAITING))
    half.ask()
    half.add_trial(
        optuna.trial.create_trial(
            state=TrialState.WAITING, system_attrs={"fixed_params": {"x": 0.5}, "failed_trial": 0}
        )
    )
    retry = half.ask()
    assert not is_redundant(half, retry)
    assert half.trials[0].state == TrialState.FAIL


def test_the_same_candidate_of_stage_one_is_dropped_once(optuna_study):
    for _ in range(2):
        optuna_study.enqueue_trial({"x": 0.5}, user_attrs={RANK: 1})
    first, second = optuna_study.ask(), optuna_study.ask()
    assert not is_redundant(optuna_study, first)
    assert is_redundant(optuna_study, second)


def test_a_trial_that_kills_every_worker_fails_in_the_end(optuna_study):
    begin(optuna_study)
    for _ in range(3):
        take_up(optuna_study, optuna_study.trials[-1], retries=2)
        if optuna_study.trials[-1].state == TrialState.WAITING:
            optuna_study.ask()
    assert len(optuna_study.trials) == 3
    assert optuna_study.trials[-1].user_attrs[OUTCOME] == "failed"
    assert "3 workers died at it" in optuna_study.trials[-1].user_attrs[REASON]
    assert counted(optuna_study.trials) == 1


def test_one_that_died_before_it_had_parameters_is_closed_for_good(optuna_study):
    optuna_study.ask()
    take_up(optuna_study, optuna_study.trials[0], retries=3)
    assert [each.state for each in optuna_study.trials] == [TrialState.FAIL]
    assert counted(optuna_study.trials) == 0
