"""Lines that a study prints as its trials end."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from rich.console import Console

from orchestrator.tuning.criteria import criterion
from orchestrator.tuning.space import short
from orchestrator.tuning.training import Training
from orchestrator.tuning.trial_notes import OUTCOME, REASON, UNTRAINED
from tests.orchestrator.tuning.test_training import Silent

KP = "loops.h.law.kp"
STUDY = SimpleNamespace(
    criteria=[criterion("iae"), criterion("effort")],
    config=SimpleNamespace(space={KP: None}, budget=SimpleNamespace(trials=9)),
    folder=Path(),
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
    training = Training(STUDY, found, Console(file=output, width=200), Silent())
    training.look(now=True)
    assert output.getvalue() == ""  # that one had ended before
    add(found, 1.0, values=[0.123456, 20.0])
    add(found, 2.0, TrialState.FAIL, **{REASON: "out of memory"})
    add(found, 3.0, TrialState.PRUNED, **{OUTCOME: UNTRAINED})
    training.look(now=True)
    training.look(now=True)
    lines = output.getvalue().splitlines()
    assert [line.split("  ")[1:] for line in lines] == [
        ["complete", "iae 0.1235, effort 20", "kp 1"],
        ["fail", "kp 2", "out of memory"],
    ]


def test_a_value_has_four_digits_and_a_name_all_of_its_letters():
    assert [short(value) for value in (0.123456, 1e-7, 12, True, "linear")] == [
        "0.1235",
        "1e-07",
        "12",
        "True",
        "linear",
    ]
