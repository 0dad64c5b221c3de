"""What notes at trials say: each counts once, whatever its attempts."""

from __future__ import annotations

from types import SimpleNamespace

from orchestrator.tuning.trial_notes import (
    ATTEMPTS,
    DIED,
    OUTCOME,
    ROOT,
    UNTRAINED,
    counted,
    folder_name,
    unfinished,
)


def trial(number, state="COMPLETE", outcome=None, **attributes):
    attributes |= {OUTCOME: outcome} if outcome else {}
    return SimpleNamespace(number=number, state=SimpleNamespace(name=state), user_attrs=attributes)


def test_a_trial_counts_from_when_it_is_taken():
    trials = [
        trial(0),
        trial(1, "RUNNING"),
        trial(2, "WAITING"),
        trial(3, "WAITING", **{ATTEMPTS: [DIED]}),
        trial(4, "FAIL", "failed"),
        trial(5, "FAIL"),  # closed by something else, as by hand
    ]
    assert counted(trials) == 4  # the one that waits in the queue for its first worker has not begun
    assert [each.number for each in unfinished(trials)] == [1, 3]
    assert not unfinished([trial(0), trial(1, "WAITING"), trial(2, "FAIL", "failed")])


def test_a_trial_that_waits_has_its_place_in_the_budget_and_no_other():
    """Both wait for their next worker, and the budget was lowered meanwhile."""
    trials = [trial(0), *(trial(number, "WAITING", **{ATTEMPTS: [DIED]}) for number in (1, 2))]
    assert [[each.number for each in unfinished(trials, budget)] for budget in (1, 2, 3)] == [[], [1], [1, 2]]


def test_what_earlier_versions_let_go_on_under_another_number_counts_once_and_keeps_its_folder():
    """Two of two began, the first goes on as number 2, and a third was drawn at the same moment."""
    trials = [trial(0, "FAIL", "replaced"), trial(1), trial(2, "WAITING", **{ROOT: 0}), trial(3)]
    assert counted(trials) == 3
    assert [each.number for each in unfinished(trials, budget=1)] == [2]
    assert folder_name(trials[2]) == "trial-0000"


def test_twenty_that_were_not_trained_count_as_one():
    untrained = [trial(number, "PRUNED", UNTRAINED) for number in range(40)]
    assert (counted(untrained[:19]), counted(untrained)) == (0, 2)
