"""A trial whose worker is gone is queued again once, and never twice."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState

from orchestrator.tuning.leases import LEASE
from orchestrator.tuning.marks import DUPLICATE, OUTCOME, RANK, REASON, close, counted, root
from orchestrator.tuning.retries import is_redundant, take_up
from tests.orchestrator.tuning.conftest import AWAY, begin


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


def test_a_worker_killed_between_two_parameters_leaves_all_of_them(optuna_study):
    optuna_study.enqueue_trial({"x": 0.75, "y": 0.5}, user_attrs={RANK: 1})
    optuna_study.ask().suggest_float("x", 0, 1)
    take_up(optuna_study, optuna_study.trials[0], retries=3)
    new = optuna_study.ask()
    assert (new.suggest_float("x", 0, 1), new.suggest_float("y", 0, 1)) == (0.75, 0.5)


def test_who_lets_go_of_a_trial_uses_up_no_retry(optuna_study):
    begin(optuna_study, {**AWAY, "released": True})
    for number in range(3):
        assert take_up(optuna_study, optuna_study.trials[-1], retries=1) == ""
        assert optuna_study.trials[number].user_attrs[REASON] == "its worker let go of it"
        optuna_study.ask().set_user_attr(LEASE, {**AWAY, "released": True})
    for reason in ("", "2 workers died at it"):  # and then they do die
        trial = optuna.trial.Trial(optuna_study, optuna_study.trials[-1]._trial_id)
        trial.set_user_attr(LEASE, AWAY)
        assert take_up(optuna_study, optuna_study.trials[-1], retries=1) == reason
        if not reason:
            optuna_study.ask()


@pytest.mark.parametrize(("lease", "reason"), [(AWAY, "died"), ({"released": True}, "let go of it")])
def test_the_heir_of_a_trial_says_why_it_was_left(optuna_study, lease, reason):
    """The one that queued it again has died before it closed it."""
    begin(optuna_study, lease)
    optuna_study.add_trial(
        optuna.trial.create_trial(
            state=TrialState.WAITING, system_attrs={"fixed_params": {"x": 0.5}, "failed_trial": 0}
        )
    )
    assert not is_redundant(optuna_study, optuna_study.ask())
    assert optuna_study.trials[0].user_attrs[REASON] == f"its worker {reason}"


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
