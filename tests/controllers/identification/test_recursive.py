import json
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.identification.recursive import RLS
from controllers.loop import restore

TRUE = np.array([0.9, 0.05, -0.01])
NOISE = 0.02


def rows(n, rng, parameters=TRUE, command_std=0.3):
    phi = np.column_stack([0.3 * rng.normal(size=n), command_std * rng.normal(size=n), np.ones(n)])
    return phi, phi @ parameters + NOISE * rng.normal(size=n)


def run(rls, phi, targets, state=None):
    state = rls.init() if state is None else state
    for regressors, target in zip(phi.tolist(), targets.tolist(), strict=True):
        state = rls.step(state, regressors, target)
    return state


def test_one_row_by_hand():
    # P = 4, φ = 2, σ² = 9: s = 9 + 2·4·2 = 25, gain = 8 / 25, θ = 1 + 8/25·(7 − 2) = 2.6, P = 4 − 64/25
    rls = RLS(prior=(1.0,), prior_std=(2.0,), noise_std=3.0, forgetting=1.0)
    state = rls.step(rls.init(), [2.0], 7.0)
    assert rls.estimate(state) == pytest.approx((2.6,))
    assert rls.standard_errors(state) == pytest.approx((1.2,))


@given(seed=st.integers(0, 999), forgetting=st.sampled_from([1.0, 0.98, 0.9]), n=st.integers(1, 60))
def test_equals_batch_least_squares_with_the_prior_as_rows(seed, forgetting, n):
    """A row of age k has the weight λᵏ; the prior is older than all of them."""
    prior, std = np.array([0.5, 0.1, 0.0]), np.array([20.0, 30.0, 10.0])
    phi, y = rows(n, np.random.default_rng(seed))
    rls = RLS(prior=tuple(prior), prior_std=tuple(std), noise_std=NOISE, forgetting=forgetting)
    state = rls.init()
    weights, prior_weight = np.zeros(0), 1.0
    for regressors, target in zip(phi.tolist(), y.tolist(), strict=True):
        before = state.covariance
        state = rls.step(state, regressors, target)
        g = np.array(before) @ regressors
        shrunk = np.array(before) - np.outer(g, g) / (NOISE**2 + regressors @ g)
        fade = 1.0 if np.any(np.diag(shrunk) > forgetting * std**2) else forgetting
        weights, prior_weight = np.append(weights, 1.0) * fade, prior_weight * fade
    information = (phi.T * weights) @ phi / NOISE**2 + np.diag(prior_weight / std**2)
    expected = np.linalg.solve(information, (phi.T * weights) @ y / NOISE**2 + prior_weight * prior / std**2)
    assert rls.estimate(state) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert rls.standard_errors(state) == pytest.approx(np.sqrt(np.diag(np.linalg.inv(information))), rel=1e-5)
    assert forgetting == 1.0 or n < 20 or weights[0] < forgetting**5  # it did forget


def test_forgetting_follows_a_change_and_least_squares_averages_over_it():
    rng = np.random.default_rng(1)
    phi, y = rows(400, rng)
    phi_later, y_later = rows(150, rng, parameters=np.array([0.7, 0.15, 0.02]))
    found = {}
    for forgetting in (1.0, 0.97):
        rls = RLS(prior=(0.0,) * 3, prior_std=(1.0,) * 3, noise_std=NOISE, forgetting=forgetting)
        state = run(rls, phi_later, y_later, run(rls, phi, y))
        found[forgetting] = np.abs(np.array(rls.estimate(state)) - [0.7, 0.15, 0.02])
        errors = np.array(rls.standard_errors(state))
    assert np.all(found[0.97] < 4 * errors)
    assert found[1.0][1] > 0.05  # still near the old 0.05


def test_a_calm_does_not_wind_the_covariance_up():
    rng = np.random.default_rng(2)
    rls = RLS(prior=(0.0,) * 3, prior_std=(1.0,) * 3, noise_std=NOISE, forgetting=0.95)
    state = run(rls, *rows(300, rng))
    state = run(rls, *rows(20000, rng, command_std=0.0), state=state)
    assert max(rls.standard_errors(state)) <= 1.0
    covariance = np.array(state.covariance)
    assert np.array_equal(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance).min() > 0
    assert rls.estimate(state)[1] == pytest.approx(0.05, abs=0.02)  # what was known of b is kept


def test_a_row_that_is_not_finite_changes_nothing():
    rls = RLS(prior=(0.5, 0.1), prior_std=(1.0, 1.0), noise_std=0.1)
    state = rls.step(rls.init(), (1.0, 2.0), 0.4)
    assert rls.step(state, (nan, 2.0), 0.4) == state
    assert rls.step(state, (1.0, 2.0), inf) == state
    assert rls.step(state, (1.0, 2.0), 0.4) != state


def test_a_parameter_without_doubt_stays():
    rls = RLS(prior=(1.0, 0.0), prior_std=(0.0, 1.0), noise_std=0.1, forgetting=0.9)
    state = rls.init()
    for k in range(50):
        state = rls.step(state, (1.0, (-1.0) ** k), 0.8 + 0.2 * (-1) ** k)
    assert rls.estimate(state)[0] == 1.0
    assert rls.estimate(state)[1] != 0.0


def test_state_survives_json_and_resumes_to_the_bit():
    rng = np.random.default_rng(3)
    rls = RLS(prior=(0.9, 0.0, 0.0), prior_std=(1.0,) * 3, noise_std=NOISE)
    phi, y = rows(40, rng)
    half = run(rls, phi[:20], y[:20])
    assert run(rls, phi[20:], y[20:], restore(json.loads(json.dumps(half)))) == run(rls, phi, y)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prior": ()}, "prior must be one finite value or more, got ()"),
        ({"prior": (nan, 0.0)}, "prior must be one finite value or more, got (nan, 0.0)"),
        ({"prior_std": (1.0,)}, "prior_std must have one value for each of the 2 of prior, got 1"),
        ({"prior_std": (1.0, -1.0)}, "prior_std must be >= 0 and finite, got (1.0, -1.0)"),
        ({"noise_std": 0.0}, "noise_std must be > 0 and finite, got 0.0"),
        ({"forgetting": 0.0}, "forgetting must be in (0, 1], got 0.0"),
        ({"forgetting": 1.1}, "forgetting must be in (0, 1], got 1.1"),
    ],
)
def test_refusals_name_field_rule_and_value(fields, message):
    with pytest.raises(ValueError) as refusal:
        RLS(**{"prior": (0.0, 0.0), "prior_std": (1.0, 1.0), "noise_std": 0.1} | fields)
    assert str(refusal.value) == message


def test_the_wrong_number_of_regressors_is_refused():
    rls = RLS(prior=(0.0, 0.0), prior_std=(1.0, 1.0), noise_std=0.1)
    with pytest.raises(ValueError, match="regressors must be 2, one a parameter, got 3"):
        rls.step(rls.init(), (1.0, 2.0, 3.0), 0.0)
