"""Every refusal, by its sentence, and the good recording next to it that passes."""

from dataclasses import replace
from math import inf, nan, sqrt
from pathlib import Path

import numpy as np
import pytest

from controllers.identification import IdentificationError, Order, Recording, fit_arx, identify
from controllers.identification.checks import (
    check_condition,
    check_phase,
    check_stable,
    chow_test,
    dither_share,
    dominant_pole,
    lasting_push,
)

SMALL = Order(na=1, nb=1, delay=1)
ADVICE = r"add `dither: \{kind: prbs, hold: 3, amplitude: A\}` to the loop.* at least 200 iterations"


def refused(match, recordings, **options):
    with pytest.raises(IdentificationError, match=match) as refusal:
        identify(recordings, **options)
    assert "\n" not in str(refusal.value)


def test_too_little(lab):
    refused("needs one recording at least, got none", [])
    short = lab.closed(lab.plant(), lab.loop(), 42, seed=0)
    refused(rf"needs 40 iterations .* got 39: {ADVICE}", [short])
    assert identify([lab.closed(lab.plant(), lab.loop(), 80, seed=0)]).plant.num_samples > 40
    blind = Recording(name="blind", y=np.full(300, nan), u=np.ones(300))
    refused("blind has no finite reading: leave it out", [short, blind])


def test_a_constant_command(lab):
    still = lab.open(lab.plant(), 300, seed=0)
    for value in (0.0, 0.25):
        constant = Recording(name="still", y=still.y, u=np.full(300, value))
        refused(rf"the command never moved \(it was {value:.4g} throughout\).*{ADVICE}", [constant])


@pytest.mark.parametrize(("ki", "error"), [(0.0, "log"), (0.02, "log"), (0.02, "absolute")])
def test_a_command_that_is_all_feedback(lab, ki, error):
    kp = 0.5 if error == "log" else 1.5
    plant = lab.plant()
    alone = lab.closed(plant, lab.loop(amplitude=0.0, kp=kp, ki=ki, error=error), 400, seed=0)
    refused(rf"not identifiable: past readings and commands explain .*{ADVICE}", [alone])
    dithered = lab.closed(plant, lab.loop(amplitude=0.1, kp=kp, ki=ki, error=error), 400, seed=0)
    assert identify([dithered]).dither_share > 0.02


def test_a_dither_too_small_to_matter(lab):
    faint = lab.closed(lab.plant(), lab.loop(amplitude=1e-4), 400, seed=0)
    refused(r"not identifiable: .* a known dither 0\.\d\d %", [faint])


def test_an_outside_command_needs_no_declared_dither(lab):
    recording = lab.open(lab.plant(), 300, seed=0)
    undeclared = Recording(name="steps", y=recording.y, u=recording.u)
    found = identify([undeclared], max_order=2)
    assert found.dither_share == 0.0
    assert found.instruments is None


def test_collinear_regressors(lab):
    fit = fit_arx([lab.closed(lab.plant(), lab.loop(), 300, seed=0)], SMALL)
    check_condition(fit)
    for condition in (1e7, inf, nan):
        with pytest.raises(IdentificationError, match=r"ARX\(1, 1, delay 1\) are collinear"):
            check_condition(replace(fit, condition=condition))


def test_records_of_different_plants_are_told_apart_by_name(lab):
    strong, weak = lab.plant(b=(0.2,)), lab.plant(b=(0.05,))
    alike = [lab.closed(strong, lab.loop(), 250, seed=k, name=f"strong-{k}") for k in range(3)]
    other = [lab.closed(weak, lab.loop(), 250, seed=9, name="weak")]
    assert identify(alike).recordings == ("strong-0", "strong-1", "strong-2")
    refused(r"in groups strong-0, strong-1, strong-2 \| weak: identify each", [*alike, *other])
    refused(r"in groups weak \| strong-0, strong-1, strong-2: identify each", [*other, *alike])


def test_different_drifts_are_one_plant_with_own_drifts(lab):
    recordings = [
        lab.closed(lab.plant(drift=drift), lab.loop(), 250, seed=3, name=f"{drift}")
        for drift in (-0.06, 0.02)
    ]
    refused(r"in groups -0.06 \| 0.02", recordings)
    assert identify(recordings, own_drift=True).plant.drift == pytest.approx(-0.02, abs=0.02)


def test_chow_by_hand_and_its_level(lab):
    # means 1 and 3 of two and two rows without slopes: pooled Σε² = 4 + 4·0.01, separate 4·0.01
    recording = Recording(name="a", y=[0.9, 1.1, 2.9, 3.1], u=np.zeros(4))
    rows = fit_arx([Recording(name="b", y=np.arange(1.0, 9.0), u=np.arange(8.0) ** 2)], SMALL).rows
    rows = replace(
        rows,
        slopes=np.zeros((4, 0)),
        target=recording.y,
        recording=np.zeros(4, dtype=int),
        place=np.arange(4),
    )
    from scipy.stats import f

    expected = f.sf((4.04 - 0.04) / 1 / (0.04 / 2), 1, 2)
    assert chow_test(rows, np.array([0, 0, 1, 1]), False) == pytest.approx(expected)
    p_values = []
    for seed in range(60):
        fit = fit_arx([lab.closed(lab.plant(), lab.loop(), 150, seed=2 * seed + k) for k in (0, 1)], SMALL)
        p_values.append(chow_test(fit.rows, fit.rows.recording, False))
    assert 0.4 < np.mean(p_values) < 0.6


def test_an_unstable_estimate(lab):
    plant = lab.plant(a=(1.05,), drift=0.06, b=(0.2,))
    recordings = [lab.closed(plant, lab.loop(kp=1.0), 300, seed=k) for k in range(2)]
    refused(r"the estimate is unstable: its largest pole is 1\.0\d+ ± .*leave out the iterations", recordings)
    integrating = lab.plant(a=(1.0,), drift=0.0)
    assert identify([lab.closed(integrating, lab.loop(), 300, seed=k) for k in range(2)], max_order=2)


def test_pole_uncertainty_is_the_spread_of_the_pole(lab):
    plant = lab.plant(a=(0.5, 0.4), drift=-0.12)
    fit = fit_arx([lab.closed(plant, lab.loop(), 400, seed=0)], Order(na=2, nb=1, delay=1))
    size, error = dominant_pole(fit.plant)
    rng = np.random.default_rng(0)
    drawn = [abs(fit.plant.drawn(rng).poles[0]) for _ in range(800)]
    assert size == pytest.approx(np.mean(drawn), abs=0.01)
    assert error == pytest.approx(np.std(drawn), rel=0.1)
    complex_pair = replace(fit.plant, a=(1.0, -0.5))  # |p| = √(−a_2)
    assert dominant_pole(complex_pair)[0] == pytest.approx(sqrt(0.5))
    assert dominant_pole(complex_pair)[1] == pytest.approx(fit.plant.standard_errors[1] / (2 * sqrt(0.5)))
    assert dominant_pole(replace(fit.plant, a=(1.0, -0.25)))[1] == inf  # a double pole


def test_a_first_push_of_the_wrong_sign(lab):
    plant = lab.plant(a=(0.9,), b=(-0.1, 0.3), drift=-0.12)
    recordings = [lab.closed(plant, lab.loop(kp=0.1, amplitude=0.3), 300, seed=k) for k in range(2)]
    refused(
        r"non-minimum-phase: the first push has the wrong sign \(b = -0\.\d+ ± .* period of \d+", recordings
    )
    # a first push that may as well be 0 is a longer delay, not a wrong sign
    fit = fit_arx([lab.closed(lab.plant(), lab.loop(), 300, seed=0)], Order(na=1, nb=2, delay=1))
    check_phase(replace(fit.plant, b=(-1e-4, 0.1)))
    # nor is a push that passes: what lasts has no sign to compare with
    check_phase(replace(fit.plant, b=(-0.2, 0.2)))
    check_stable(fit.plant)


def test_a_command_that_lowers_entropy(lab):
    plant = lab.plant(b=(-0.1,), drift=-0.06)
    recordings = [lab.closed(plant, lab.loop(kp=0.05, ki=0.0, amplitude=0.3), 300, seed=k) for k in range(2)]
    refused(
        r"the command lowers entropy \(a constant unit of command moves z by -0\.\d+ ± .*turn the actuator's sign",
        recordings,
    )


def test_dither_share_by_hand(lab):
    u, d = np.array([1.0, -1.0, 2.0, -2.0]), np.array([1.0, -1.0, 1.0, -1.0])
    recording = Recording(name="a", y=np.ones(4), u=u, dither=d)
    assert dither_share([recording]) == pytest.approx(36 / (10 * 4))
    assert dither_share([Recording(name="b", y=np.ones(4), u=u)]) == 0.0


def test_lasting_push_is_the_slope_of_a_command_that_stays(lab):
    """Σ b / Σ i·a_i, from a ramp that the plant itself makes."""
    for a in ((1.0,), (0.7, 0.3), (0.5, 0.2, 0.3), (1.6, -0.6)):
        plant = lab.plant(a=a, b=(0.05, 0.1), delay=2)
        ramp = lab.step_response(plant, 400)
        assert lasting_push(plant) == (pytest.approx(ramp[-1] - ramp[-2], rel=1e-9), 0.0)
    assert lasting_push(lab.plant(a=(0.7, 0.3), b=(0.05, 0.1)))[0] == pytest.approx(0.15 / 1.3)
    assert lasting_push(lab.plant(a=(), b=(0.3, -0.1)))[0] == pytest.approx(0.2)


def test_lasting_push_has_the_error_of_drawn_plants(lab):
    fit = fit_arx([lab.closed(lab.plant(), lab.loop(), 300, seed=0)], Order(na=2, nb=2, delay=1))
    slope, error = lasting_push(fit.plant)
    rng = np.random.default_rng(0)
    drawn = [lasting_push(fit.plant.drawn(rng))[0] for _ in range(2000)]
    assert slope == pytest.approx(np.mean(drawn), abs=3 * error / 2000**0.5 + 0.02 * slope)
    assert error == pytest.approx(np.std(drawn), rel=0.1)


def test_noise_of_the_readings_does_not_hide_in_the_push(lab):
    """The sum of b is far from the slope there, since the readings' noise takes a longer memory."""
    plant = lab.plant(a=(1.0,), b=(0.1,), drift=0.0, noise_std=0.01)
    recordings = [
        lab.closed(plant, lab.loop(kp=0.1, ki=0.0, amplitude=0.3), 1500, seed=k, reading_noise=0.05)
        for k in range(3)
    ]
    fit = fit_arx(recordings, Order(na=6, nb=6, delay=1), coordinates="log")
    slope, error = lasting_push(fit.plant)
    assert abs(slope - 0.1) < 3 * error
    assert sum(fit.plant.b) > 1.8 * slope


def test_the_shipped_plant_of_the_bonus():
    from orchestrator.engineering.plant_file import read_plant

    plant = read_plant(Path(__file__).parents[3] / "configs/control/bonus_plant.yaml").plant
    assert sum(plant.b) == pytest.approx(0.219, abs=5e-4)
    assert lasting_push(plant)[0] == pytest.approx(0.171, abs=5e-4)
