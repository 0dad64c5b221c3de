import doctest

import numpy as np
import pytest

import controllers.identification
from controllers.identification import Order, Recording, fit_arx, fit_share, free_run, identify, prediction


def test_a_plain_plant_is_found_and_nothing_is_said_against_it(lab):
    recordings = [lab.closed(lab.plant(delay=2), lab.loop(hold=2), 300, seed=k) for k in range(4)]
    found = identify(recordings, max_order=4)
    assert (found.order.na, found.order.delay) == (1, 2)
    parameters = np.array(found.plant.parameters) - lab.plant(delay=2).parameters
    assert np.all(np.abs(parameters) < 3 * np.array(found.plant.standard_errors))
    assert found.warnings == ()
    assert found.push_p < 1e-6
    assert found.constancy_p > 0.01
    assert found.candidates[0].bic <= found.candidates[-1].bic
    assert found.held_out == "each recording by a plant of the others"
    assert found.one_step_fit > found.far_fit > 0


@pytest.mark.parametrize("seed", [0, 100, 200])
def test_noisy_readings_of_an_integrator_do_not_bias_the_response(lab, seed):
    """ARMAX data in closed loop: the first order is wrong by many standard errors, the chosen one is not."""
    plant = lab.plant(a=(1.0,), b=(0.15,), drift=-0.02)
    recordings = [
        lab.closed(plant, lab.loop(kp=1.0, ki=0.05, seed=k + 1), 300, seed=seed + k, reading_noise=0.04)
        for k in range(4)
    ]
    low = fit_arx(recordings, Order(na=1, nb=1, delay=1)).plant
    assert low.a[0] < 1 - 4 * low.standard_errors[0]
    found = identify(recordings)
    assert found.order.na > 1
    assert found.whiteness_p > 0.05
    assert found.instruments is not None
    assert found.instruments.p_value > 0.01
    ages = [1, 2, 5, 10, 20]
    rng = np.random.default_rng(0)
    drawn = [lab.step_response(found.plant.drawn(rng), 21)[ages] for _ in range(200)]
    off = lab.step_response(found.plant, 21)[ages] - lab.step_response(plant, 21)[ages]
    assert np.all(np.abs(off) < 3 * np.std(drawn, axis=0))
    assert np.std(drawn, axis=0)[3] < 0.1 * 1.5  # a tenth of the response after ten iterations


def test_a_low_order_on_such_data_is_warned_of(lab):
    plant = lab.plant(a=(1.0,), b=(0.15,), drift=-0.02)
    recordings = [
        lab.closed(plant, lab.loop(kp=1.0, ki=0.05, seed=k + 1), 300, seed=k, reading_noise=0.04)
        for k in range(4)
    ]
    told = " | ".join(identify(recordings, order=Order(na=1, nb=1, delay=1)).warnings)
    assert "the residuals follow each other (Ljung–Box p = " in told
    assert "the dither alone gives another plant (Hausman p = " in told


def test_an_actuator_without_authority_is_warned_of(lab):
    recordings = [lab.closed(lab.plant(b=(0.0,)), lab.loop(), 250, seed=k) for k in range(2)]
    found = identify(recordings, max_order=2)
    assert found.push_p > 0.01
    assert any("the command has no detectable effect" in each for each in found.warnings)


def test_a_push_that_passes_is_warned_of(lab):
    """Such as that of a temperature, which the reading shows at once and training takes back."""
    plant = lab.plant(a=(0.9,), b=(0.3, -0.3), drift=-0.12)
    recordings = [lab.closed(plant, lab.loop(kp=0.1, amplitude=0.3), 250, seed=k) for k in range(2)]
    found = identify(recordings, order=Order(na=1, nb=2, delay=1))
    assert any("a constant command has no detectable effect" in each for each in found.warnings)


def test_a_plant_that_changed_is_warned_of(lab):
    before = lab.closed(lab.plant(b=(0.05,)), lab.loop(), 250, seed=0)
    after = lab.closed(lab.plant(b=(0.25,)), lab.loop(), 250, seed=1)
    signals = {
        name: np.concatenate([getattr(before, name), getattr(after, name)]) for name in ("y", "u", "dither")
    }
    found = identify([Recording(name="both", **signals)], max_order=2)
    assert any(
        "second half of the recordings has another plant than the first" in each for each in found.warnings
    )


def test_fits_are_of_records_that_the_plant_has_not_seen(lab):
    order = Order(na=1, nb=1, delay=1)
    recordings = [lab.closed(lab.plant(), lab.loop(), 300, seed=k) for k in range(2)]
    others = [fit_arx([recordings[1 - k]], order).plant for k in range(2)]
    fits = [
        fit_share(np.log(recording.y), prediction(plant, recording, 10))
        for plant, recording in zip(others, recordings, strict=True)
    ]
    assert identify(recordings, order=order).far_fit == pytest.approx(np.mean(fits))

    found = identify(recordings[:1], order=order)
    assert found.held_out == "the last third of the recording"
    plant = fit_arx([recordings[0].before(200)], order).plant
    late = recordings[0].after(199)
    assert found.one_step_fit == pytest.approx(fit_share(np.log(late.y), prediction(plant, late, 1)))
    assert found.free_run_fit == pytest.approx(fit_share(np.log(late.y), free_run(plant, late)))


@pytest.mark.parametrize(
    ("coordinates", "drift", "noise_std"), [("absolute", 0.015, 0.003), ("relative", 0.05, 0.01)]
)
def test_coordinates(lab, coordinates, drift, noise_std):
    plant = lab.plant(coordinates=coordinates, drift=drift, noise_std=noise_std)
    loop = lab.loop(kp=0.05, ki=0.001, amplitude=0.1, error="absolute")
    recordings = [lab.closed(plant, loop, 400, seed=k) for k in range(2)]
    found = identify(recordings, coordinates=coordinates, max_order=1)
    assert found.plant.coordinates == coordinates
    assert found.plant.a[0] == pytest.approx(0.95, abs=3 * found.plant.standard_errors[0])
    # z of a plant in relative coordinates is a share of its own level
    scale = found.plant.level_nats / plant.level_nats if coordinates == "relative" else 1.0
    assert found.plant.b[0] * scale == pytest.approx(0.1, abs=3 * found.plant.standard_errors[1])


def test_wrong_coordinates_are_refused(lab):
    with pytest.raises(ValueError, match="coordinates must be one of absolute, relative, log, got 'nats'"):
        identify([lab.closed(lab.plant(), lab.loop(), 100, seed=0)], coordinates="nats")


def test_the_example_runs_and_every_name_is_documented():
    result = doctest.testmod(controllers.identification)
    assert result.attempted >= 6
    assert result.failed == 0
    for name in controllers.identification.__all__:
        assert getattr(controllers.identification, name).__doc__, name
