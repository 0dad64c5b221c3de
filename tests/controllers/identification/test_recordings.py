from math import inf, log, nan

import numpy as np
import pytest

from controllers.identification import Recording
from controllers.identification.regression import rows_of


def recording(**fields):
    return Recording(**{"name": "run", "y": [0.5, 0.4, 0.3, 0.2], "u": [1.0, 2.0, 3.0, 4.0]} | fields)


def test_iterations_that_are_missing_become_gaps():
    whole = recording(iterations=[3, 4, 7, 8], dither=[0.1, nan, 0.3, 0.4])
    assert whole.times.tolist() == [3, 4, 5, 6, 7, 8]
    np.testing.assert_array_equal(whole.y, [0.5, 0.4, nan, nan, 0.3, 0.2])
    np.testing.assert_array_equal(whole.u, [1.0, 2.0, nan, nan, 3.0, 4.0])
    # no word of the dither while the command was kept: it is the last one's
    assert whole.known_dither.tolist() == [0.1, 0.1, 0.0, 0.0, 0.3, 0.4]


def test_no_row_reaches_over_a_gap_or_into_another_record():
    first = recording(y=[1.0, 2.0, nan, 4.0, 5.0, 6.0], u=[10.0, 20.0, 30.0, 40.0, inf, 60.0])
    second = recording(y=[7.0, 8.0], u=[70.0, 80.0])
    rows = rows_of([first, second], z_lags=[1], u_lags=[1], coordinates="absolute", level_nats=1.0)
    # target: z before, u before.  3 and 4 lack a reading, 6 follows a command that is not finite
    assert rows.target.tolist() == [2.0, 5.0, 8.0]
    assert rows.slopes.tolist() == [[1.0, 10.0], [4.0, 40.0], [7.0, 70.0]]
    assert rows.recording.tolist() == [0, 0, 1]
    assert rows.place.tolist() == [1, 4, 1]
    assert rows.design().tolist()[-1] == [7.0, 70.0, 1.0]
    assert rows.design(own_drift=True).tolist()[-1] == [7.0, 70.0, 0.0, 1.0]


def test_coordinates():
    collapsed = recording(y=[0.5, 0.0, 1e-9, 0.2])
    np.testing.assert_array_equal(collapsed.z("log", 0.5), [log(0.5), nan, nan, log(0.2)])
    assert collapsed.z("relative", 0.5).tolist() == [1.0, 0.0, 2e-9, 0.4]
    assert collapsed.z("absolute", 0.5).tolist() == [0.5, 0.0, 1e-9, 0.2]


def test_a_part_keeps_its_iterations():
    late = recording(iterations=[10, 11, 12, 13], dither=[1, 2, 3, 4]).after(12)
    assert (late.times.tolist(), late.y.tolist(), late.u.tolist()) == ([12, 13], [0.3, 0.2], [3.0, 4.0])
    assert late.known_dither.tolist() == [3.0, 4.0]
    assert late.before(13).y.tolist() == [0.3]
    assert late.after(99).y.size == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "name must not be empty, got ''"),
        ({"u": [1.0]}, "u of run must be as long as y, 4, got 1"),
        ({"dither": [1.0]}, "dither of run must be as long as y, 4, got 1"),
        ({"iterations": [1, 2]}, "iterations of run must be as long as y, 4, got 2"),
        ({"iterations": [1, 2, 2, 3]}, "iterations of run must be whole and rising, got others"),
        ({"iterations": [1, 2, 2.5, 3]}, "iterations of run must be whole and rising, got others"),
        ({"y": [[1.0]]}, "y must be one number an iteration, got shape (1, 1)"),
    ],
)
def test_refusals(fields, message):
    with pytest.raises(ValueError) as refusal:
        recording(**fields)
    assert str(refusal.value) == message
