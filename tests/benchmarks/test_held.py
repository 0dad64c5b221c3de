"""The table of what loops held: figures by hand, and a row for each loop."""

from dataclasses import replace
from math import nan

import numpy as np
import pytest

from benchmarks import held
from orchestrator.storage.guardrail_files import Event
from orchestrator.storage.run_data import ArmRecords
from tests.orchestrator.report.small_campaigns import make_run

Y = np.array([0.3] * 10 + [0.21, 0.19] * 5)
U = np.array([0.0, 0.1] * 10)


def test_figures_of_a_made_up_run():
    found = held.figures_of(Y, np.full(20, 0.2), U)
    assert found.held
    assert found.rms == pytest.approx(0.05)
    assert found.offset == pytest.approx(0.0)
    assert found.iae == pytest.approx(10 * 0.5 + 10 * 0.05)
    assert found.movement == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        (slice(13, None), 0.23),  # 15 % above in the last 35 %
        (12, 0.099),  # a factor of two beyond, seen from a start above
    ],
)
def test_what_is_not_held(changed, value):
    y = Y.copy()
    y[changed] = value
    assert not held.figures_of(y, np.full(20, 0.2), U).held


def test_a_factor_of_two_on_the_side_of_the_start_is_no_runaway():
    y = Y.copy()
    y[12] = 0.41
    assert held.figures_of(y, np.full(20, 0.2), U).held


def test_a_row_for_each_loop_with_what_its_law_said():
    def run(seed, y, at):
        train = {
            **{"entropy": y, "loop/a/r": [0.2] * 20, "loop/a/u": U},
            **{"other": 2 * Y, "loop/b/r": [nan] * 20, "loop/b/u": 0 * U},
        }
        loops = {
            "a": {"sensor": "entropy", "law": {"kind": "auto"}},
            "b": {"sensor": "other", "law": {"kind": "open_loop"}},
        }
        made = make_run("cell", seed, train, {"loops": loops})
        events = (
            Event(iteration=at, detector="noise", subject="a", reason="noise: …"),
            Event(iteration=1, detector="collapse", subject="a", reason="a guardrail"),
        )
        return replace(made, events=events)

    arm = ArmRecords(name="cell", method="m", runs=(run(0, Y, 19), run(1, 1.1 * Y, 23)))
    # seed 1 is 15.5 and 4.5 % above in turns: RMS 11.41 %, offset 10 %, IAE 10 · 0.65 + 5 · 0.155 + 5 · 0.045
    first, second = held.rows(arm, 0.4)
    assert first == [
        *("cell", "a", "auto", "0, 1", "1 of 2"),
        *("8.2 ± 4.5", "+5.0 ± 7.1", "6.5 ± 1.4", "0.100 ± 0.000", "noise at 19, 23"),
    ]
    assert second[:5] == ["cell", "b", "open_loop", "0, 1", "2 of 2"]
    assert second[-1] == "–"
    without = held.rows(arm, None)
    assert without[0] == first
    assert without[1] == ["cell", "b", "open_loop", "0, 1", "–", "–", "–", "–", "0.000 ± 0.000", "–"]


def test_a_loop_whose_readings_ended_did_not_hold_its_setpoint():
    y = np.where(np.arange(20) < 10, 0.2, nan)
    assert held.figures_of(y, np.full(20, 0.2), U).held is False
    assert held.figures_of(y, np.full(20, nan), U).held is None
