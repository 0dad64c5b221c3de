"""Predicts a closed loop, and measures how well the prediction agrees with real runs.

A prediction uses what is known before a run: the loop, the plant with its uncertainty, and the
entropy at the start.  Its band contains both sources of uncertainty: each draw has another plant of the
confidence region and another noise sequence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from controllers.loop import FeedbackLoop
from controllers.plants.plant import Plant
from controllers.plants.simulated_plants import Changed
from controllers.plants.simulation import Telemetry, simulate_many

Array = NDArray[np.float64]

NUM_DRAWS = 200
BAND = (0.05, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Simulated trajectories of one loop: arrays [D, T], a draw of plant and noise in each row."""

    y: Array
    """Measurement [nats/token]."""

    r: Array
    """Reference [nats/token]."""

    u: Array
    """Command [actuator's unit]."""

    def quantiles(self, signal: Array) -> tuple[Array, Array, Array]:
        """Low end of the band, median and high end at every iteration, each [T]."""
        low, median, high = np.quantile(signal, [BAND[0], 0.5, BAND[1]], axis=0)
        return low, median, high


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Readings of some runs against a prediction, the given first reading left out."""

    num_readings: int

    rmse_nats: float
    """Root mean square of readings minus predicted median [nats/token]."""

    normalised_rmse: float
    """The same over the standard deviation of the readings: 1 − the fit of system identification.  No
    prediction is better than 1 where a loop holds and only noise is left."""

    expected_normalised_rmse: float
    """What it would be if the prediction were right: its median over the prediction's own draws."""

    coverage: float
    """Share of the readings inside the band."""

    early_coverage: float
    """The same of the first quarter: how a loop starts, which a linear plant tells less well."""

    late_coverage: float
    """The same of the last half: how a loop holds."""

    expected_coverage: float
    """What each would be if the prediction were right: the band's ends are quantiles."""


def predict(
    loop: FeedbackLoop,
    plant: Plant | Changed,
    num_iterations: int,
    *,
    initial_nats: float,
    telemetry: Telemetry | None = None,
    num_draws: int = NUM_DRAWS,
    seed: int = 0,
) -> Prediction:
    """Trajectories of the loop on plants drawn from the confidence region, from entropy ``initial_nats`` on.

    Args:
        plant: its covariance is the confidence region; a plant known exactly varies in the noise only.
        num_iterations: T.
        telemetry: readings that the loop needs besides its sensor's.
        num_draws: D.

    Raises:
        ValueError: the loop reads something that ``telemetry`` does not have.
    """
    rng = np.random.default_rng(seed)
    if not _uncertain(plant):
        records = [simulate_many([loop], plant, num_iterations, range(num_draws), initial_nats, telemetry)]
    else:
        records = [
            simulate_many([loop], _drawn(plant, rng), num_iterations, [draw], initial_nats, telemetry)
            for draw in range(num_draws)
        ]
    y, r, u = (
        np.concatenate([getattr(record, letter)[0] for record in records]) for letter in ("y", "r", "u")
    )
    return Prediction(y=y, r=r, u=u)


def agreement(prediction: Prediction, runs: Sequence[Array]) -> Agreement:
    """Readings of several runs, one array [T] each and nan where there is none, against the prediction.

    A run that is shorter than the prediction is compared as far as it goes.  The first reading of a run
    is what the prediction was started from, so it is not counted.
    """
    low, median, high = prediction.quantiles(prediction.y)
    num = median.size
    readings = np.full((len(runs), num), nan)
    for row, run in zip(readings, runs, strict=True):
        row[: min(num, run.size)] = run[:num]
    readings[:, 0] = nan
    known = np.isfinite(readings)
    if known.sum() < 2:
        return Agreement(**dict.fromkeys(Agreement.__slots__, nan) | {"num_readings": int(known.sum())})  # type: ignore[arg-type]
    errors = readings - median
    seen = known.any(axis=0)
    draws = prediction.y[:, seen]
    expected = np.sqrt(np.mean((draws - median[seen]) ** 2, axis=1))
    spread = np.std(draws, axis=1)
    moving = spread > 0
    rmse = float(np.sqrt(np.mean(errors[known] ** 2)))
    inside = (readings >= low) & (readings <= high)
    return Agreement(
        num_readings=int(known.sum()),
        rmse_nats=rmse,
        normalised_rmse=rmse / total if (total := float(np.std(readings[known]))) else nan,
        expected_normalised_rmse=float(np.median(expected[moving] / spread[moving])) if moving.any() else nan,
        coverage=_share(inside, known),
        early_coverage=_share(inside[:, : num // 4], known[:, : num // 4]),
        late_coverage=_share(inside[:, num // 2 :], known[:, num // 2 :]),
        expected_coverage=BAND[1] - BAND[0],
    )


def _share(inside: NDArray[np.bool_], known: NDArray[np.bool_]) -> float:
    return float(inside[known].mean()) if known.any() else nan


def constant_telemetry(loop: FeedbackLoop, learner: Mapping[str, object]) -> dict[str, float]:
    """Readings besides the sensor's that are known before a run: the learning rate, where the loop reads it."""
    rate = learner.get("learning_rate")
    known = {"learning_rate": float(rate)} if isinstance(rate, int | float) else {}
    return {name: value for name, value in known.items() if name in loop.reads}


def unknown_readings(loop: FeedbackLoop, learner: Mapping[str, object]) -> list[str]:
    """Readings of the loop that are unknown before a run; with any of them there is no prediction."""
    known = {loop.sensor, *constant_telemetry(loop, learner)}
    return sorted(set(loop.reads) - known)


def _uncertain(plant: Plant | Changed) -> bool:
    plants = plant.plants if isinstance(plant, Changed) else ((0, plant),)
    return any(isinstance(part, Plant) and part.covariance for _, part in plants)


def _drawn(plant: Plant | Changed, rng: np.random.Generator) -> Plant | Changed:
    if isinstance(plant, Plant):
        return plant.drawn(rng)
    drawn = tuple((t, part.drawn(rng) if isinstance(part, Plant) else part) for t, part in plant.plants)
    return Changed(plants=drawn)
