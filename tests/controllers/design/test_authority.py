import numpy as np
import pytest

from controllers.design import DesignError, able, authority, reachable_range, require_authority
from controllers.plants.plant import Plant


def test_an_integrator_is_held_against_its_drift_anywhere(make):
    # 0.1·u = 0.02
    found = authority(make(), 0.5, 0.0, 1.0)
    assert found.holding_command == pytest.approx(0.2)
    assert found.room == pytest.approx(0.2)
    assert found.able
    assert reachable_range(make(), 0.0, 1.0) == (0.0, np.inf)


def test_drift_beyond_saturation_is_refused_with_the_reason(make):
    with pytest.raises(
        DesignError, match="takes a command of 2, but the highest is 1, at which entropy falls"
    ):
        require_authority(make(drift=-0.2), 0.5, -1.0, 1.0)
    assert reachable_range(make(drift=-0.2), -1.0, 1.0) is None
    with pytest.raises(DesignError, match=r"the lowest is 0, at which entropy rises by 0.05 an iteration"):
        require_authority(make(drift=0.05), 0.5, 0.0, 1.0)


def test_levels_that_a_regulated_plant_can_hold(make):
    # z = (drift + 0.1·u) / (1 − 0.9), in logarithms: from −0.3/0.1 ... exp(−1.2), exp(0.8) at u = −1, 1
    plant = make(a=(0.9,), drift=-0.02)
    low, high = reachable_range(plant, -1.0, 1.0)
    assert (low, high) == (pytest.approx(np.exp(-1.2)), pytest.approx(np.exp(0.8)))
    assert authority(plant, low, -1.0, 1.0).holding_command == pytest.approx(-1.0)
    assert authority(plant, high, -1.0, 1.0).holding_command == pytest.approx(1.0)
    with pytest.raises(DesignError, match=r"choose a target in \[0.301, 2.23\] nats/token"):
        require_authority(plant, 3.0, -1.0, 1.0)
    # in nats, a level below 0 does not exist
    absolute = make(coordinates="absolute", a=(0.9,), drift=-0.02)
    assert reachable_range(absolute, -1.0, 1.0) == (0.0, pytest.approx(0.8))
    assert reachable_range(absolute, -1.0, -0.5) is None


def test_noise_needs_room(make):
    assert authority(make(), 0.5, 0.0, 1.0, command_std=0.09).able
    assert not authority(make(), 0.5, 0.0, 1.0, command_std=0.11).able
    with pytest.raises(DesignError, match=r"with 0.22 to spare for noise, and in \[0, 1\] there are 0.2:"):
        require_authority(make(), 0.5, 0.0, 1.0, command_std=0.11)


@pytest.mark.parametrize("memory", [0.9, 0.99, 1.012, 1.2])
@pytest.mark.parametrize("command_std", [0.0, 0.1, 0.3])
def test_the_range_that_a_refusal_names_is_what_would_be_taken(make, memory, command_std):
    """Also of an estimate whose pole is a little above 1, and with the room that noise needs."""
    plant = make(a=(memory,), drift=-0.02)
    targets = np.exp(np.linspace(-8, 8, 33))
    margin = 2 * command_std
    inside = reachable_range(plant, -1.0 + margin, 1.0 - margin)
    for target in targets:
        able = authority(plant, target, -1.0, 1.0, command_std=command_std).able
        assert able == (inside is not None and inside[0] <= target <= inside[1]), target
        if not able:
            with pytest.raises(DesignError) as refusal:
                require_authority(plant, target, -1.0, 1.0, command_std=command_std)
            if inside is not None:
                assert f"choose a target in [{inside[0]:.3g}, {inside[1]:.3g}] nats/token" in str(
                    refusal.value
                )


def test_one_number_says_how_much_room_noise_needs():
    from inspect import signature

    from controllers.design import design
    from controllers.design.authority import NUM_SIGMA
    from orchestrator.commands import design as command

    assert command.NUM_SIGMA is NUM_SIGMA
    for function in (authority, require_authority, able, design):
        assert signature(function).parameters["num_sigma"].default == NUM_SIGMA == 2.0


def test_names_the_actuators_that_could(make):
    plants = {
        "bonus": make(drift=-0.2),
        "weights": make(b=(0.4,), drift=-0.2),
        "clip": make(b=(0.25,), drift=-0.2),
    }
    limits = dict.fromkeys(plants, (-1.0, 1.0))
    names = able(plants, limits, 0.5)
    assert names == ("weights", "clip")  # 0.5 and 0.8 of 1
    with pytest.raises(DesignError, match="or use weights or clip, which can"):
        require_authority(plants["bonus"], 0.5, -1.0, 1.0, others=names)
    assert able(plants, limits, 0.5, command_std={"clip": 0.2}) == ("weights",)


def test_the_error_of_the_holding_command_is_that_of_drawn_plants():
    root = np.array([[0.002, 0.0, 0.0], [0.003, 0.004, 0.0], [0.001, -0.002, 0.003]])
    covariance = root @ root.T  # estimates of one fit depend on each other
    plant = Plant(
        coordinates="log",
        a=(0.95,),
        b=(0.1,),
        delay=1,
        drift=-0.05,
        noise_std=0.05,
        level_nats=0.5,
        covariance=tuple(map(tuple, covariance)),
    )
    rng = np.random.default_rng(0)
    drawn = np.std([plant.drawn(rng).holding_command(0.5) for _ in range(2000)])
    assert authority(plant, 0.5, -1.0, 1.0).holding_command_error == pytest.approx(drawn, rel=0.06)
    assert authority(plant, 0.5, -1.0, 1.0).holding_command == plant.holding_command(0.5)


def test_nonsense_is_refused(make):
    with pytest.raises(ValueError, match="low must be <= high"):
        authority(make(), 0.5, 1.0, 0.0)
    with pytest.raises(ValueError, match="r_nats must be > 0"):
        authority(make(), 0.0, 0.0, 1.0)
