"""What design cannot do it refuses, with the reason and the cure."""

import numpy as np
import pytest

from controllers.design import SIMC, DesignError, MinimumVariance, SensitivityPeak, Settling, design
from controllers.design.gain_search import GainSearch
from controllers.plants.plant import Plant


def test_limits_that_do_not_hold_the_reference_are_refused(make):
    with pytest.raises(DesignError, match=r"takes a command of 0.2, but the highest is 0.1"):
        design(make(), SensitivityPeak(), low=0.0, high=0.1)
    restless, calm = MinimumVariance(), MinimumVariance(command_std=0.18)
    assert design(make(), restless).promise.command_std > 0.2  # the room between 0 and 0.2
    with pytest.raises(DesignError, match="to spare for noise"):
        design(make(), restless, low=0.0, high=1.0)
    with pytest.raises(
        DesignError, match=r"with 0\.36 to spare for noise"
    ):  # two standard deviations, as it says
        design(make(), calm, low=0.0, high=1.0)
    assert design(make(), calm, low=0.0, high=1.0, num_sigma=1.0).promise.command_std <= 0.18
    with pytest.raises(DesignError, match="to spare for noise"):
        design(make(), calm, low=0.0, high=1.0, num_sigma=2.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"b": (-0.1,)}, "a command must raise entropy in the end"),
        ({"b": (-0.05, 0.2)}, "non-minimum-phase, its first answer of -0.05"),
        ({"a": (1.05,)}, "unstable by itself, with a pole of 1.05"),
    ],
)
def test_plants_that_no_gains_mend_are_refused(make, changes, message):
    with pytest.raises(DesignError, match=message):
        design(make(**changes), SensitivityPeak())


def test_uncertainty_excuses_a_pole_just_above_one(make):
    """Up to three standard errors, as in identification."""
    covariance = tuple(map(tuple, np.diag([0.02, 0.01, 0.01]) ** 2))
    assert design(make(a=(1.055,), covariance=covariance), SensitivityPeak(ms=1.8)).margins.stable
    with pytest.raises(DesignError, match=r"unstable by itself, with a pole of 1.065 ± 0.02"):
        design(make(a=(1.065,), covariance=covariance), SensitivityPeak(ms=1.8))
    # nor is it non-minimum-phase when the wrong sign is within them
    covariance = tuple(map(tuple, np.diag([0.0, 0.03, 0.03, 0.0]) ** 2))
    assert design(make(b=(-0.02, 0.2), covariance=covariance), SensitivityPeak()).margins.stable


def test_plants_as_identified_from_the_pilot_runs_can_be_designed_for():
    """Rounded estimates of 440 iterations of the bonus on easy addition, whose pole is a little above 1."""
    errors = [0.048, 0.054, 0.05, 0.024, 0.031, 0.03, 0.023, 0.024]
    plant = Plant(
        coordinates="log",
        a=(0.499, 0.349, 0.17),
        b=(0.1112, 0.0567, -0.0043, 0.0724),
        delay=2,
        drift=-0.0345,
        noise_std=0.0566,
        level_nats=0.2,
        covariance=tuple(map(tuple, np.diag(errors) ** 2)),
    )
    found = design(plant, MinimumVariance(ms=1.6, recovery=60), low=-1.0, high=1.0)
    assert found.margins.ms <= 1.601
    assert 1.0 < found.promise.harris_index < 1.5


def test_a_peak_that_cannot_be_had_is_refused_with_the_lowest(make):
    covariance = tuple(map(tuple, np.diag([0.05, 0.01, 0.01]) ** 2))
    unstable = make(a=(1.09,), delay=3, covariance=covariance)
    with pytest.raises(
        DesignError, match=r"ms = 1.2 cannot be reached: the lowest that a pi law reaches is 1.7"
    ):
        design(unstable, SensitivityPeak(ms=1.2))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SensitivityPeak(ms=1.0), "ms must be > 1"),
        (lambda: Settling(iterations=0), "iterations must be >= 1"),
        (lambda: SIMC(time_constant=0.0), "time_constant must be > 0"),
        (lambda: MinimumVariance(recovery=0), "recovery must be >= 1"),
        (lambda: MinimumVariance(command_std=0.0), "command_std must be > 0"),
    ],
)
def test_nonsense_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_an_unknown_structure_is_refused(make):
    with pytest.raises(ValueError, match="structure must be one of p, pi, pid, got 'dip'"):
        GainSearch(plant=make(), structure="dip")
