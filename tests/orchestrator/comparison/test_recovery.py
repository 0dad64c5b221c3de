"""Recovery from a phase: hand-made curves whose answers can be read off."""

import numpy as np
import pytest

from orchestrator.comparison.recovery import recoveries
from orchestrator.storage.run_data import ArmRecords, RunRecords, Series
from orchestrator.storage.run_folder import RunInfo, Status

SETPOINT = 0.2


def run_of(loops, phases, seed=0, sensors=None):
    """A finished run; ``loops`` is what each loop measured at every iteration."""
    num = len(next(iter(loops.values())))
    values = {}
    for name, y in loops.items():
        values |= {
            f"loop/{name}/y": np.array(y),
            f"loop/{name}/u": np.zeros(num),
            f"loop/{name}/r": np.full(num, SETPOINT),
        }
    values |= {sensor: np.array(y) for sensor, y in (sensors or {}).items()}
    config = {
        "phases": [{"start": start} for start in phases],
        "loops": {name: {"sensor": f"entropy/{name}"} for name in loops},
    }
    return RunRecords(
        info=RunInfo(campaign="c", arm="a", seed=seed, method="m", config=config),
        status=Status(status="done"),
        train=Series(steps=np.arange(num), values=values),
        evaluation=Series(steps=np.array([], dtype=int), values={}),
        seconds=1.0,
    )


def arm_of(*runs):
    return ArmRecords(name="a", method="m", runs=runs)


def dip(depth, length, before=50, after=50):
    """On the setpoint, below it for ``length`` iterations from the change on, and back."""
    return [SETPOINT] * before + [SETPOINT - depth] * length + [SETPOINT] * (after - length)


def test_a_dip_of_known_depth_and_length():
    (found,) = recoveries(arm_of(run_of({"entropy": dip(0.09, 12)}, phases=[0, 50])))
    assert (found.loop, found.at) == ("entropy", 50)
    assert found.before.mean == 0
    assert found.excursion.mean == pytest.approx(0.45)  # 0.09 of 0.2, for five readings and more
    # the mean of 5 readings from 7 on is 0.09 below; from 11 on one of them is, and 0.018 is within a tenth
    assert found.iterations.mean == 11
    assert found.iae.mean == pytest.approx(12 * 0.09)
    assert found.after.mean == 0  # the last 20 of 50 are out of the dip


def test_a_loop_that_stays_away_never_recovers_and_counts_among_the_seeds():
    back, away = dip(0.1, 12), dip(0.1, 50)
    arm = arm_of(*(run_of({"entropy": y}, [50], seed) for seed, y in enumerate([back, away])))
    (found,) = recoveries(arm)
    assert found.iterations.num == 1
    assert len(found.iterations.values) == 2


def test_each_change_ends_where_the_next_begins():
    y = dip(0.1, 12) + dip(0.05, 12, before=20, after=30)
    first, second = recoveries(arm_of(run_of({"entropy": y}, [0, 50, 120])))
    assert [first.at, second.at] == [50, 120]
    assert first.iae.mean == pytest.approx(1.2)
    assert second.iae.mean == pytest.approx(0.6)


def test_every_loop_by_itself_one_that_begins_at_the_change_too():
    late = [np.nan] * 50 + [2 * SETPOINT] * 10 + [SETPOINT] * 40
    found = recoveries(arm_of(run_of({"plus": dip(0.0, 1), "minus": late}, [50])))
    by_loop = {each.loop: each for each in found}
    assert by_loop["plus"].iterations.mean == 0
    assert by_loop["plus"].excursion.mean == pytest.approx(0)
    assert by_loop["minus"].excursion.mean == pytest.approx(1)
    assert (
        by_loop["minus"].iterations.mean == 10
    )  # from 9 on one reading of five is off, by all of the setpoint
    assert by_loop["minus"].before.num == 0


def test_a_filter_does_not_flatter():
    arm = arm_of(
        run_of({"entropy": [SETPOINT] * 100}, [50], sensors={"entropy/entropy": dip(0.1, 12)}),
    )
    assert recoveries(arm)[0].excursion.mean == pytest.approx(0.5)


def test_no_phase_no_recovery():
    assert recoveries(arm_of(run_of({"entropy": dip(0.1, 12)}, phases=[0]))) == ()
    assert recoveries(arm_of()) == ()


def test_the_transient_of_the_start_excuses_no_excursion():
    """Twenty iterations at twice the setpoint, twenty on it: only the latter say what is usual."""
    y = [2 * SETPOINT] * 20 + dip(0.1, 12, before=20)
    (found,) = recoveries(arm_of(run_of({"entropy": y}, [40])))
    assert found.before.mean == 0
    assert found.iterations.mean >= 11
