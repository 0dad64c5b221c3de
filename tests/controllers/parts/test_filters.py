import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.loop_state import restore
from controllers.parts.filters import EMA, FILTERS, Hold, Median

nats = st.floats(0.0, 12.0)
EXAMPLES = [Hold(), EMA(decay=0.0), EMA(decay=0.9), Median(window=1), Median(window=5)]


def measurements(filter_, readings):
    state, out = filter_.init(), []
    for reading in readings:
        state, y = filter_.step(state, reading)
        out.append(y)
    return out


def test_hold_passes_readings_through():
    assert measurements(Hold(), [0.3, 0.1]) == [0.3, 0.1]


def test_ema_by_hand():
    # m: 0.5·0 + 0.5·1 = 0.5, 0.5·0.5 + 0.5·2 = 1.25;  w: 0.5, 0.75;  y: 0.5/0.5 = 1, 1.25/0.75 = 5/3
    assert measurements(EMA(decay=0.5), [1.0, 2.0]) == pytest.approx([1.0, 5 / 3])


def test_ema_is_a_weighted_mean_with_geometric_weights():
    readings = np.random.default_rng(0).uniform(0, 2, 30)
    weights = 0.9 ** np.arange(30)[::-1]
    assert measurements(EMA(decay=0.9), readings)[-1] == pytest.approx(weights @ readings / weights.sum())


def test_median_by_hand_while_filling_and_after():
    # [3], [3,1] -> 2, [3,1,9] -> 3, [1,9,2] -> 2, [9,2,2] -> 2
    assert measurements(Median(window=3), [3.0, 1.0, 9.0, 2.0, 2.0]) == [3.0, 2.0, 3.0, 2.0, 2.0]


@pytest.mark.parametrize("filter_", EXAMPLES, ids=repr)
@settings(max_examples=25, deadline=None)
@given(st.lists(nats, min_size=1, max_size=20))
def test_measurement_stays_within_the_readings(filter_, readings):
    for k, y in enumerate(measurements(filter_, readings), start=1):
        assert min(readings[:k]) - 1e-12 <= y <= max(readings[:k]) + 1e-12


@pytest.mark.parametrize("filter_", EXAMPLES, ids=repr)
def test_state_survives_json(filter_):
    state = filter_.init()
    for reading in (0.7, 0.1, 0.3):
        state, _ = filter_.step(state, reading)
    read_back = restore(json.loads(json.dumps(state)))
    assert read_back == state
    again, after = filter_.step(read_back, 0.2), filter_.step(state, 0.2)
    assert again == after
    assert type(again[0]) is type(after[0]) is type(filter_.init())


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_ema_refuses(decay):
    with pytest.raises(ValueError, match=rf"^decay must be in \[0, 1\), got {decay}"):
        EMA(decay=decay)


@pytest.mark.parametrize("window", [0, 4, -3])
def test_median_refuses(window):
    with pytest.raises(ValueError, match=f"^window must be odd and >= 1, got {window}"):
        Median(window=window)


def test_registry():
    assert {"none": Hold, "ema": EMA, "median": Median} == FILTERS
