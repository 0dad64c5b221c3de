from math import nan

import numpy as np
import pytest

from controllers import Constant, FeedbackLoop, IntegratingPlant, OpenLoop, simulate

LOOP = FeedbackLoop(
    sensor="entropy",
    reference=Constant(value_nats=0.5),
    law=OpenLoop(value=0.1),
    actuator="bonus",
    low=-1.0,
    high=1.0,
    neutral=0.0,
)


def test_plant_by_hand():
    plant = IntegratingPlant(
        gain=0.2, drift=0.03, initial_nats=1.0, regulation=0.1, equilibrium_nats=0.5, noise_std=0.01
    )
    # 1 + 0.2·0.5 − 0.03 − 0.1·(1 − 0.5) + 0.01·2 = 1.04
    assert plant.step(1.0, 0.5, 2.0) == pytest.approx(1.04)
    assert plant.step(0.01, -1.0, 0.0) == 0.0


def test_simulate_measures_before_it_moves():
    plant = IntegratingPlant(gain=1.0, drift=0.3, initial_nats=1.0)
    traces = simulate(LOOP, plant, 3)
    assert [trace.y for trace in traces] == pytest.approx([1.0, 0.8, 0.6])  # + 0.1 − 0.3
    assert [trace.u for trace in traces] == [0.1] * 3


def test_noise_has_its_scale_and_its_seed():
    plant = IntegratingPlant(gain=0.0, drift=0.0, initial_nats=100.0, noise_std=0.5)
    y = np.array([trace.y for trace in simulate(LOOP, plant, 4000)])
    assert np.diff(y).std() == pytest.approx(0.5, rel=0.05)
    assert simulate(LOOP, plant, 20, seed=1) == simulate(LOOP, plant, 20, seed=1)
    assert simulate(LOOP, plant, 20, seed=1) != simulate(LOOP, plant, 20, seed=2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gain": nan}, "gain must be finite, got nan"),
        ({"drift": nan}, "drift must be finite, got nan"),
        ({"initial_nats": -1.0}, "initial_nats must be >= 0 and finite, got -1.0"),
        ({"regulation": 1.5}, "regulation must be in [0, 1], got 1.5"),
        ({"equilibrium_nats": -0.1}, "equilibrium_nats must be >= 0 and finite, got -0.1"),
        ({"noise_std": -0.1}, "noise_std must be >= 0 and finite, got -0.1"),
    ],
)
def test_refusals_name_field_rule_and_value(fields, message):
    with pytest.raises(ValueError) as refusal:
        IntegratingPlant(**{"gain": 1.0, "drift": 0.0, "initial_nats": 1.0} | fields)
    assert str(refusal.value) == message
