"""Which trials a page can show together: those that searched the same parameters."""

from __future__ import annotations

import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from orchestrator.tuning.parameters import complete, searched, together, varying


def study_of(*groups):
    """A study of groups `(number of trials, names that vary, names that do not)`."""
    found = optuna.create_study()
    for num, moving, still in groups:
        for k in range(num):
            params = dict.fromkeys(moving, k / 8) | dict.fromkeys(still, 0.5)
            trial = create_trial(
                value=float(k),
                params=params,
                distributions={name: FloatDistribution(0.0, 9.0) for name in params},
            )
            found.add_trial(trial)
    return found


def test_groups_have_two_that_vary_and_three_trials_the_largest_first():
    found = study_of((3, "ab", "c"), (5, "ad", ""), (2, "ae", ""), (4, "f", "g"))
    assert [(each.params, len(each.study.trials)) for each in together(found)] == [
        (("a", "d"), 5),
        (("a", "b"), 3),
    ]
    assert together(found)[1].where == ""  # c is the same in all there are
    moved = study_of((3, "ab", "c"), (5, "cd", ""))
    assert together(moved)[1].where == "c 0.5"


def test_six_groups_are_drawn_and_no_more():
    names = ["ab", "ac", "ad", "ae", "af", "ag", "ah"]
    found = study_of(*((3 + number, pair, "") for number, pair in enumerate(names)))
    assert [each.params for each in together(found)] == [tuple(pair) for pair in names[:0:-1]]


def test_only_complete_trials_count():
    found = study_of((2, "ab", "c"))
    found.add_trial(create_trial(state=TrialState.FAIL))
    assert len(complete(found)) == 2
    assert varying(complete(found)) == ["a", "b"]
    assert searched(found) == ["a", "b", "c"]  # which could have varied
    fixed = optuna.create_study()
    fixed.add_trial(
        create_trial(value=1.0, params={"a": 2.0}, distributions={"a": FloatDistribution(2.0, 2.0)})
    )
    assert searched(fixed) == []
