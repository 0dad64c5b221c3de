"""Control engineering on the page: the prediction for a loop, its measured results, and its robustness.

It covers every loop that names the plant it was designed for; see `orchestrator.engineering`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from controllers.design import DesignError
from controllers.laws.pid import PID
from controllers.laws.scheduled import ScheduledPID
from controllers.parts.references import Constant
from controllers.plants.plant import Plant
from controllers.quality.quality import Quality, assess
from orchestrator.comparison import SETTLING_TOLERANCE, SETTLING_WINDOW, Estimate
from orchestrator.comparison.values import FINAL_FRACTION
from orchestrator.configuration.loops import LoopConfig
from orchestrator.configuration.resolve import parse
from orchestrator.configuration.stored import stored_timing
from orchestrator.engineering.curves import Analysis
from orchestrator.engineering.prediction import (
    NUM_DRAWS,
    Agreement,
    Prediction,
    agreement,
    constant_telemetry,
    predict,
    unknown_readings,
)
from orchestrator.engineering.sources import measurements
from orchestrator.errors import ConfigError
from orchestrator.storage.run_data import ArmRecords, Array, CampaignRecords, RunRecords

MOST_STEPS = 20_000
"""Steps of a loop that a prediction may take: about a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Designed:
    """A loop of an arm with the plant that it was designed for."""

    arm: ArmRecords
    loop: str
    config: LoopConfig
    plant: Plant
    """With the arm's wait for commands in its delay."""
    prediction: Prediction | None
    agreement: Agreement | None
    why_not: str = ""
    """What kept it from being predicted."""

    @property
    def name(self) -> str:
        """The arm, and its loop where that is not the usual one."""
        return self.arm.name if self.loop == "entropy" else f"{self.arm.name}, {self.loop}"

    @property
    def analysis(self) -> Analysis | None:
        """The linear loop; None for a law or a period that linear theory does not know."""
        law, reference = self.config.law, self.config.reference
        law = law.pid if isinstance(law, ScheduledPID) else law
        if not isinstance(law, PID) or self.config.period != 1:
            return None
        at = reference.value_nats if isinstance(reference, Constant) else None
        found = Analysis(plant=self.plant, law=law, filter=self.config.filter, at_nats=at)
        try:
            _ = found.loop
        except DesignError:  # a filter that is not linear
            return None
        return found


def designed_loops(campaign: CampaignRecords) -> list[Designed]:
    """Every loop of the campaign that has a plant, predicted as far as its runs have come."""
    found = []
    for arm in campaign.arms:
        for name, content in ((arm.shown[0].info.config.get("loops") or {}) if arm.shown else {}).items():
            if isinstance(content, dict) and content.get("plant"):
                designed = _designed(arm, name, content)
                if designed is not None:
                    found.append(designed)
    return found


def quality(run: RunRecords, loop: str, config: LoopConfig, delay: int) -> Quality:
    """How one loop did in one run."""
    built = config.build()
    return assess(
        measurements(run, loop),
        run.train.get(f"loop/{loop}/r"),
        run.train.get(f"loop/{loop}/u"),
        low=built.low,
        high=built.high,
        tolerance_fraction=SETTLING_TOLERANCE,
        settling_window=SETTLING_WINDOW,
        settling_lasts=FINAL_FRACTION,
        delay=delay,
    )


def table(loops: Sequence[Designed]) -> list[tuple[str, list[str]]]:
    """Rows of margins, of agreement and of quality; a cell for each loop."""
    rows = [("plant", [_plant_in_words(each.plant) for each in loops])]
    rows += _margin_rows(loops)
    for name, field in _AGREEMENT:
        rows.append((name, [_as_promised(each.agreement, field) for each in loops]))
    measured = [
        [quality(run, each.loop, each.config, each.plant.dead_time) for run in each.arm.shown]
        for each in loops
    ]
    predicted = [_predicted_quality(each) for each in loops]
    for name, field, digits in _QUALITY:
        cells = []
        for real, promised in zip(measured, predicted, strict=True):
            estimate = Estimate(tuple(getattr(one, field) for one in real))
            expected = [getattr(one, field) for one in promised]
            cells.append(_against(estimate, np.array(expected), digits))
        rows.append((name, cells))
    return rows


def _designed(arm: ArmRecords, name: str, content: dict[str, object]) -> Designed | None:
    try:
        config = parse(LoopConfig, content, f"arms.{arm.name}.loops.{name}")
    except ConfigError:
        return None  # written by another version
    if config.plant is None:
        return None
    runs = [measurements(run, name) for run in arm.shown]
    starts = [float(run[np.isfinite(run)][0]) for run in runs if np.isfinite(run).any()]
    stored = arm.shown[0].info.config
    learner = stored.get("learner") or {}
    loop = config.build(**stored_timing(stored))
    plant = config.plant.in_run(loop.dead_time)
    unknown = unknown_readings(loop, learner)
    why_not = ""
    if not starts:
        why_not = f"{arm.name} has no readings of the loop {name} yet."
    elif unknown:
        why_not = f"{arm.name} also reads {', '.join(unknown)}, which a plant of entropy does not predict."
    if why_not:
        return Designed(
            arm=arm,
            loop=name,
            config=config,
            plant=plant,
            prediction=None,
            agreement=None,
            why_not=why_not,
        )
    length = max(run.size for run in runs)
    prediction = predict(
        loop,
        plant,
        length,
        initial_nats=float(np.mean(starts)),
        telemetry=constant_telemetry(loop, learner),
        num_draws=int(np.clip(MOST_STEPS // length, 40, NUM_DRAWS)),
    )
    return Designed(
        arm=arm,
        loop=name,
        config=config,
        plant=plant,
        prediction=prediction,
        agreement=agreement(prediction, runs),
    )


def _plant_in_words(plant: Plant) -> str:
    return (
        f"ARX({len(plant.a)}, {len(plant.b)}), delay {plant.delay}, {plant.coordinates} coordinates, noise "
        f"{100 * plant.noise_std / (plant.level_nats if plant.coordinates == 'absolute' else 1):.1f} %"
    )


def _margin_rows(loops: Sequence[Designed]) -> list[tuple[str, list[str]]]:
    found = [each.analysis.margins if each.analysis else None for each in loops]
    rows: list[tuple[str, list[str]]] = []
    for name, field, unit in _MARGINS:
        cells = []
        for margins in found:
            if margins is None:
                cells.append("not a PID law" if field == "stable" else "–")
            elif field == "stable":
                cells.append("yes" if margins.stable else "no")
            else:
                cells.append(_number(float(getattr(margins, field)), 3) + unit)
        rows.append((name, cells))
    return rows


_MARGINS = (
    ("stable on its plant", "stable", ""),
    ("gain margin", "gain_margin", ""),
    ("phase margin", "phase_margin_degrees", "°"),
    ("delay margin, iterations", "delay_margin", ""),
    ("Ms", "ms", ""),
)

_AGREEMENT = (
    ("prediction: normalised RMSE (expected of a right one)", "normalised_rmse"),
    ("prediction: share of readings in the band (expected of a right one)", "coverage"),
)

_QUALITY = (
    ("settling, iterations", "settling_iteration", 0),
    ("RMSE over the run, nats/token", "rmse_nats", 4),
    ("IAE, nats/token · iterations", "iae_nats", 2),
    ("offset at the end, nats/token", "offset_nats", 4),
    ("saturation share", "saturation_share", 3),
    ("Harris index, last half", "harris_index", 2),
)


def _predicted_quality(each: Designed) -> list[Quality]:
    """Quality of each trajectory of the prediction."""
    if each.prediction is None:
        return []
    built = each.config.build()
    return [
        assess(
            y,
            r,
            u,
            low=built.low,
            high=built.high,
            tolerance_fraction=SETTLING_TOLERANCE,
            settling_window=SETTLING_WINDOW,
            settling_lasts=FINAL_FRACTION,
            delay=each.plant.dead_time,
        )
        for y, r, u in zip(each.prediction.y, each.prediction.r, each.prediction.u, strict=True)
    ]


def _against(real: Estimate, expected: Array, digits: int) -> str:
    """`0.021 ± 0.002 (predicted 0.020)`."""
    known = expected[np.isfinite(expected)]
    text = "–" if not real.num else f"{real.mean:.{digits}f}"
    if real.num > 1:
        text += f" ± {real.std:.{digits}f}"
    if real.num and real.num < len(real.values):
        text += f" in {real.num} of {len(real.values)}"
    return f"{text} (predicted {np.median(known):.{digits}f})" if known.size else text


def _as_promised(found: Agreement | None, field: str) -> str:
    """`1.07 (1.02)`"""
    if found is None:
        return "–"
    return f"{getattr(found, field):.2f} ({getattr(found, f'expected_{field}'):.2f})"


def _number(value: float, digits: int) -> str:
    return "∞" if value == np.inf else f"{value:.{digits}g}"
