"""Which trials use up the budget."""

from __future__ import annotations

from optuna.trial import TrialState

from orchestrator.tuning.marks import OUTCOME, UNTRAINED, counted


def test_twenty_that_were_not_trained_count_as_one():
    class Untrained:
        state = TrialState.PRUNED
        user_attrs = {OUTCOME: UNTRAINED}  # noqa: RUF012

    assert counted([Untrained()] * 19) == 0
    assert counted([Untrained()] * 40) == 2
