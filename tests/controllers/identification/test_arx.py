import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.tsa.ardl import ARDL

from controllers.identification import Order, Recording, fit_arx

PLANTS = [
    {"a": (0.9,), "b": (0.1,), "delay": 1},
    {"a": (0.95,), "b": (0.08,), "delay": 3, "drift": -0.05},
    {"a": (0.6, 0.3), "b": (0.05, 0.1), "delay": 1, "drift": -0.1},
    {"a": (1.2, -0.1, -0.15), "b": (0.02, 0.06, 0.04), "delay": 2},
    {"a": (1.0,), "b": (0.1,), "delay": 1, "drift": 0.0},
]


@pytest.mark.parametrize("order", [(1, 1, 1), (2, 3, 1), (3, 1, 2), (2, 2, 3)])
def test_estimates_and_standard_errors_are_those_of_statsmodels(lab, order):
    na, nb, delay = order
    recording = lab.closed(lab.plant(), lab.loop(), 250, seed=4)
    fit = fit_arx([recording], Order(na=na, nb=nb, delay=delay))
    z = pd.Series(np.log(recording.y))
    lags = list(range(delay, delay + nb))
    reference = ARDL(z, na, pd.DataFrame({"u": recording.u}), {"u": lags}, trend="c").fit()
    const, rest = reference.params.iloc[0], reference.params.iloc[1:]
    np.testing.assert_allclose(fit.plant.parameters, [*rest, const], rtol=0, atol=1e-8)
    # statsmodels estimates s² with n − p too
    errors = [*reference.bse.iloc[1:], reference.bse.iloc[0]]
    np.testing.assert_allclose(fit.plant.standard_errors, errors, rtol=1e-8)
    assert fit.plant.num_samples == reference.resid.size


@pytest.mark.parametrize("fields", PLANTS)
@pytest.mark.parametrize("closed", [False, True])
def test_plants_are_recovered_within_three_standard_errors(lab, fields, closed):
    plant = lab.plant(**fields)
    make = (lambda seed: lab.closed(plant, lab.loop(), 400, seed=seed)) if closed else None
    recordings = [make(seed) if make else lab.open(plant, 400, seed=seed) for seed in range(3)]
    found = fit_arx(recordings, Order(na=len(plant.a), nb=len(plant.b), delay=plant.delay)).plant
    errors = np.array(found.standard_errors)
    assert np.all(np.abs(np.array(found.parameters) - plant.parameters) < 3 * errors)
    assert errors.max() < 0.06  # else three of them would say little
    assert found.noise_std == pytest.approx(plant.noise_std, rel=0.1)


def test_standard_errors_are_the_spread_over_records(lab):
    plant = lab.plant(a=(0.8,), drift=-0.24)
    plants = [fit_arx([lab.closed(plant, lab.loop(), 200, seed=s)], SMALL).plant for s in range(100)]
    spread = np.std([each.parameters for each in plants], axis=0)
    claimed = np.mean([each.standard_errors for each in plants], axis=0)
    np.testing.assert_allclose(claimed, spread, rtol=0.2)


SMALL = Order(na=1, nb=1, delay=1)


def test_a_record_twice_gives_the_same_plant_with_less_doubt(lab):
    recording = lab.closed(lab.plant(), lab.loop(), 200, seed=0)
    once, twice = fit_arx([recording], SMALL).plant, fit_arx([recording, recording], SMALL).plant
    assert twice.parameters == pytest.approx(once.parameters)
    assert np.array(once.standard_errors) / twice.standard_errors == pytest.approx(np.sqrt(2), rel=0.01)


def test_own_drifts_keep_the_push_of_runs_that_drift_apart(lab):
    pulls = (-0.30, -0.06, 0.10)
    recordings = [
        lab.closed(lab.plant(drift=pull), lab.loop(), 300, seed=k, name=str(k))
        for k, pull in enumerate(pulls)
    ]
    own = fit_arx(recordings, SMALL, own_drift=True)
    assert own.num_parameters == 5
    assert own.plant.a[0] == pytest.approx(0.95, abs=3 * own.plant.standard_errors[0])
    assert own.plant.b[0] == pytest.approx(0.1, abs=3 * own.plant.standard_errors[1])
    assert own.plant.drift == pytest.approx(np.mean(pulls), abs=3 * own.plant.standard_errors[2])
    pooled = fit_arx(recordings, SMALL).plant
    assert abs(pooled.a[0] - 0.95) > 3 * pooled.standard_errors[0]  # one drift for all spoils it


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.01, 100), size=st.floats(0.1, 10), seed=st.integers(0, 50))
def test_units_scale_out(scale, size, seed):
    rng = np.random.default_rng(seed)
    u = rng.normal(size=60)
    y = 1 + 0.1 * np.cumsum(0.1 * np.roll(u, 1) + rng.normal(size=60)) ** 2
    one = fit_arx([Recording(name="a", y=y, u=u)], SMALL, coordinates="relative").plant
    other = fit_arx([Recording(name="b", y=size * y, u=scale * u)], SMALL, coordinates="relative").plant
    assert other.a == pytest.approx(one.a, rel=1e-6)
    assert other.b[0] * scale == pytest.approx(one.b[0], rel=1e-6)
    assert other.level_nats == pytest.approx(size * one.level_nats)


def test_refusals():
    rng = np.random.default_rng(0)
    y, u = 1 + 0.1 * rng.random(40), rng.random(40)
    with pytest.raises(ValueError, match="more rows than its 3 parameters, got 2"):
        fit_arx([Recording(name="a", y=y[:3], u=u[:3])], SMALL)
    with pytest.raises(ValueError, match="must not be collinear, got rank 2 of 3"):
        fit_arx([Recording(name="a", y=y, u=np.ones(40))], SMALL)
    for fields, message in (
        ({"na": -1}, "na must be >= 0, got -1"),
        ({"nb": 0}, "nb must be >= 1, got 0"),
        ({"delay": 0}, "delay must be >= 1"),
    ):
        with pytest.raises(ValueError, match=message):
            Order(**{"na": 1, "nb": 1, "delay": 1} | fields)


def test_condition_number(lab):
    recording = lab.open(lab.plant(a=(0.0,)), 2000, seed=0)
    assert fit_arx([recording], Order(na=0, nb=2, delay=1)).condition == pytest.approx(1.0, abs=0.1)
    slow = Recording(name="slow", y=recording.y, u=np.cumsum(recording.u))
    assert fit_arx([slow], Order(na=0, nb=2, delay=1)).condition > 20
    shifted = Recording(name="shifted", y=recording.y, u=recording.u + 9.0)  # levels are the drift's business
    both = fit_arx([recording, shifted], Order(na=0, nb=2, delay=1), own_drift=True)
    assert both.condition == pytest.approx(1.0, abs=0.1)
