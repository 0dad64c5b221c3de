"""Lines that a study prints as its trials end."""

from __future__ import annotations

import io
from types import SimpleNamespace

import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from rich.console import Console

from orchestrator.tuning.attempts import OUTCOME, REASON, REPLACED, SURPLUS
from orchestrator.tuning.criteria import criterion
from orchestrator.tuning.space import short
from orchestrator.tuning.training import Finished

KP = "loops.h.law.kp"
STUDY = SimpleNamespace(
    criteria=[criterion("iae"), criterion("effort")], config=SimpleNamespace(space={KP: None})
)


def add(found, kp, state=TrialState.COMPLETE, values=None, **marks):
    """Add a trial that has ended."""
    found.add_trial(
        create_trial(
            state=state,
            values=values,
            params={KP: kp},
            distributions={KP: FloatDistribution(0.0, 9.0)},
            user_attrs=marks,
        )
    )


def test_a_trial_is_told_once_with_its_values_where_it_has_any():
    found = optuna.create_study(directions=["minimize", "minimize"])
    add(found, 0.5, values=[1.0, 2.0])
    output = io.StringIO()
    finished = Finished(STUDY, found, Console(file=output, width=200))
    finished.print_new()
    assert output.getvalue() == ""  # that one had ended before
    add(found, 1.0, values=[0.123456, 20.0])
    add(found, 2.0, TrialState.FAIL, **{REASON: "out of memory"})
    add(found, 3.0, TrialState.PRUNED, **{OUTCOME: SURPLUS})
    add(found, 4.0, TrialState.FAIL, **{OUTCOME: REPLACED})
    finished.print_new()
    finished.print_new()
    lines = output.getvalue().splitlines()
    assert [line.split("  ")[1:] for line in lines] == [
        ["complete", "iae 0.1235, effort 20", "kp 1"],
        ["fail", "kp 2", "out of memory"],
        ["continues as another attempt", "kp 4"],
    ]


def test_a_value_has_four_digits_and_a_name_all_of_its_letters():
    assert [short(value) for value in (0.123456, 1e-7, 12, True, "linear")] == [
        "0.1235",
        "1e-07",
        "12",
        "True",
        "linear",
    ]
