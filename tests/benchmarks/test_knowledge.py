"""What knowledge of a plant is worth: the laws that know hold what they know, and those that wait do wait."""

from math import log

import numpy as np
import pytest

from benchmarks import knowledge
from benchmarks.new_plants import far_side, scores
from benchmarks.plant_families import chosen, integrators, oracle, simulate


@pytest.fixture(scope="module")
def plants():
    drawn = integrators(np.random.default_rng(1), 60)
    return chosen(drawn, far_side(drawn, oracle(drawn)[0]) < log(2))


def quiet(plants):
    """The same without noise, change and warm-up, of one gain, and with powers for which all can be held."""
    still = chosen(plants, np.ones(plants.num, bool))
    still.noise[:], still.change[:], still.noise_std[:] = 0.0, 1e-9, 1e-6
    still.drift[:], still.gain[:] = -0.1 * still.holding, 0.1
    still.power[:], still.drift_power[:] = 0.5, 0.4
    return still


@pytest.mark.parametrize("learns", [False, True])
def test_without_noise_a_law_that_knows_the_plant_leaves_nothing(plants, learns):
    still = quiet(plants)
    z, w = simulate(still, knowledge.Knowing(still, learns=learns))
    assert np.abs(z[150:]).max() < 1e-3
    assert w[-1] == pytest.approx(still.holding, abs=1e-3)


def test_a_law_that_has_to_look_first_leaves_the_command_neutral(plants):
    _, w = simulate(plants, knowledge.Knowing(plants, after=6))
    assert (w[:6] == 0).all()
    assert (w[6] != 0).mean() > 0.7  # some may only push up, and are too high


def test_the_filter_predicts_as_the_plant_moves(plants):
    """From the true z with a command that is not constant, no reading surprises."""
    still = quiet(plants)
    law = knowledge.Knowing(still)
    seen = []

    def step(t, reading, last):
        law(t, reading, last)
        seen.append(law.z - reading)
        return np.full(still.num, 0.3 * np.sin(t)) + still.holding * 0.9

    simulate(still, step)
    assert np.abs(seen[:40]).max() < 1e-6


def test_more_knowledge_holds_more(plants):
    known_z, _ = oracle(plants)
    held = {
        law: scores(plants, *simulate(plants, knowledge.LAWS[law](plants, 1.0)), known_z)["held"].mean()
        for law in ("auto", "all", "all, after 10")
    }
    assert held["all"] >= held["auto"]
    assert held["all"] >= held["all, after 10"]


def test_it_prints_three_tables(capsys):
    knowledge.main(["--num", "30", "--seeds", "7"])
    out = capsys.readouterr().out
    assert out.startswith("those that know look ahead by 1.5 at lag 0, 2.5 at lag 0.5, 6 at lag 0.9\n")
    for law in knowledge.LAWS:
        assert f"\n{law:16}" in out
    assert " 2.0 to  inf " in out
    assert "ran away" in out.splitlines()[-1]


def test_the_horizon_scales_what_those_that_know_look_ahead(plants, capsys):
    assert knowledge.Knowing(plants, scale=2.0).horizon == pytest.approx(
        2 * knowledge.Knowing(plants).horizon
    )
    knowledge.main(["--num", "30", "--seeds", "7", "--horizon", "2"])
    assert capsys.readouterr().out.startswith(
        "those that know look ahead by 3 at lag 0, 5 at lag 0.5, 12 at lag 0.9\n"
    )
    with pytest.raises(SystemExit):
        knowledge.main(["--horizon", "0"])
    assert "--horizon must be above 0 and finite, got 0.0" in capsys.readouterr().err
