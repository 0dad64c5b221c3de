"""The benchmark of new plants: its laws are the product's, its plants and figures what it says."""

from math import exp, isfinite, log, nan

import numpy as np
import pytest

from benchmarks import new_plants
from benchmarks.auto_of_many import AutoOfMany
from benchmarks.plant_families import (
    FAMILIES,
    NUM_ITERATIONS,
    chosen,
    integrators,
    oracle,
    simulate,
    temperatures,
)
from controllers import Auto, Constant, FeedbackLoop


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("family", ["integrators", "instant", "bad readings", "temperatures"])
def test_auto_on_many_plants_is_the_law(family, told):
    plants = FAMILIES[family](np.random.default_rng(5), 5)
    variance = np.random.default_rng(6).uniform(0.001, 0.1, plants.noise.shape)
    many, seen = AutoOfMany(plants.low, variance if told else None), []

    def law(t, readings, last):
        commands = many(t, readings, last)
        seen.append((readings, commands))
        return commands

    simulate(plants, law)
    assert np.isfinite([commands for _, commands in seen]).all()
    for k in range(plants.num):
        loop = FeedbackLoop(
            sensor="entropy",
            reference=Constant(value_nats=0.3),
            law=Auto(),
            actuator="any",
            low=float(plants.low[k]),
            high=1.0,
            neutral=0.0,
        )
        state = loop.init()
        for t, (readings, commands) in enumerate(seen):
            y = 0.3 * exp(readings[k]) if isfinite(readings[k]) else nan
            error = {"entropy/standard_error": y * variance[t, k] ** 0.5} if told else {}
            state, trace = loop.step(state, {"entropy": y} | error, t)
            assert trace.u == pytest.approx(commands[k], abs=1e-9)


def test_a_plant_moves_as_its_equation_says():
    plants = chosen(integrators(np.random.default_rng(3), 1), np.array([True]))
    z, w = simulate(plants, lambda t, readings, last: plants.holding)
    level, effect, lag = plants.start[0], 0.0, plants.lag[0]
    delay = int(plants.delay[0, 0])
    for t in range(20):
        effect = lag * effect + (1 - lag) * (plants.holding[0] if t - delay >= 0 else 0.0)
        if t:
            level += plants.gain[t, 0] * effect * exp(plants.power[0] * level)
            level += plants.drift[t, 0] * exp(plants.drift_power[0] * z[t - 1, 0]) + plants.change[t, 0]
        level = min(max(level, -6.0), 6.0)
        assert z[t, 0] == pytest.approx(level)
    assert (w == plants.holding).all()


def test_a_temperature_acts_by_its_logarithm_and_the_oracle_knows():
    plants = temperatures(np.random.default_rng(3), 20)
    plants.delay[:], plants.lag[:], plants.change[:], plants.drift[:] = 1, 0.0, 0.0, 0.0
    z, w = simulate(plants, lambda t, readings, last: np.full(20, 0.1 * t - 0.2))
    assert (w[:13, 0] == np.clip(0.1 * np.arange(13) - 0.2, -0.2, 1.0)).all()
    # one iteration after w = 0.1 the temperature is 1.4: gain · ln 1.4 / ln 5
    assert z[4] == pytest.approx(plants.start + plants.gain[0] * log(1.4) / log(5.0))
    plants.noise[:] = 0.0
    assert np.abs(oracle(plants)[0][-50:]).max() < 1e-6


def test_the_oracle_holds_what_it_knows():
    plants = integrators(np.random.default_rng(0), 40)
    z, _ = oracle(plants)
    fair = new_plants.far_side(plants, z) < log(2)
    assert fair.mean() > 0.75
    kept = chosen(plants, fair)
    assert kept.num == fair.sum()
    assert new_plants.scores(kept, z[:, fair], z[:, fair], z[:, fair])["held"].all()


def test_the_figures_of_a_made_up_run():
    plants = chosen(integrators(np.random.default_rng(0), 2), np.array([True, True]))
    plants.start[:] = 0.5
    known = np.full((NUM_ITERATIONS, 2), 0.02)
    z = np.full((NUM_ITERATIONS, 2), 0.04)
    z[:30, 0] = 0.5  # held from iteration 30 on
    z[100:, 1] = 0.8 * np.where(np.arange(100) // 10 % 2, 1, -1)  # swings nine times, past a factor of two
    scored = new_plants.scores(plants, z, z, known)
    assert scored["held"].tolist() == [True, False]
    assert scored["ran away"].tolist() == [False, True]
    assert scored["oscillated"].tolist() == [False, True]
    assert scored["settled"].tolist() == [30, 0]
    assert scored["IAE"][0] == pytest.approx((30 * 0.5 + 170 * 0.04) / 4)


def test_it_prints_a_row_a_law(capsys):
    new_plants.main(
        ["--num", "4", "--families", "instant", "--laws", "auto", "e3", "quickstart_raw", "skywork"]
    )
    out = capsys.readouterr().out
    for law in ("oracle", "auto", "e3", "quickstart_raw", "skywork"):
        assert f"\n{law} " in out
