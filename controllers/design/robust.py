"""The worst case: every plant that the same records could have come from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np

from controllers.base import Filter
from controllers.design.errors import DesignError
from controllers.design.frequency import grid, grid_margins, sensitivity_peak
from controllers.design.gains import Design, design
from controllers.design.specifications import Specification
from controllers.design.transfer import close_law
from controllers.laws.pid import PID
from controllers.plants.plant import Plant

BISECTIONS = 6
"""Steps towards the Ms of the nominal plant that leaves the worst case within bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Robustness:
    """Margins of one law over plants drawn from the confidence region of the estimate.

    "At share" means that this share of the plants is at least as good.  A plant that the law does not
    keep stable has Ms inf and margins of 0 (gain: 1).
    """

    share: float
    """Share of the plants that figures "at share" stand for."""

    num_draws: int
    """Plants drawn; 1 when the plant is known exactly."""

    unstable_share: float
    """Share of the plants that the law does not keep stable."""

    ms: float
    """Peak of the sensitivity at share."""

    worst_ms: float
    """Largest of all."""

    gain_margin: float
    """At share."""

    phase_margin_degrees: float
    """At share."""

    delay_margin: float
    """At share [iterations]."""

    worst_delay_margin: float
    """Smallest of all [iterations]."""


def robustness(
    plant: Plant,
    law: PID,
    filter: Filter | None = None,
    at_nats: float | None = None,
    *,
    share: float = 0.95,
    num_draws: int = 200,
    seed: int = 0,
) -> Robustness:
    """Margins of a law over ``num_draws`` plants of the confidence region; the same for the same seed."""
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share}")
    if num_draws < 1:
        raise ValueError(f"num_draws must be >= 1, got {num_draws}")
    loops = close_law(_drawn(plant, num_draws, seed), law, filter, at_nats)
    omega = grid(600)
    peaks = sensitivity_peak(loops, omega)
    transfers = np.broadcast_to(loops.transfer(omega), (peaks.size, omega.size))
    each = [
        grid_margins(transfer, omega) if np.isfinite(peak) else None
        for transfer, peak in zip(transfers, peaks)
    ]
    delays = [found.delay_margin if found else 0.0 for found in each]
    return Robustness(
        share=share,
        num_draws=peaks.size,
        unstable_share=float(np.mean(~np.isfinite(peaks))),
        ms=_at_share(peaks, share),
        worst_ms=float(peaks.max()),
        gain_margin=-_at_share([-found.gain_margin if found else -1.0 for found in each], share),
        phase_margin_degrees=-_at_share(
            [-found.phase_margin_degrees if found else 0.0 for found in each], share
        ),
        delay_margin=-_at_share([-delay for delay in delays], share),
        worst_delay_margin=min(delays),
    )


def robust_design(
    plant: Plant,
    specification: Specification,
    *,
    share: float = 0.95,
    num_draws: int = 200,
    seed: int = 0,
    **options: Any,
) -> tuple[Design, Robustness]:
    """A design whose Ms is within the specification's bound for ``share`` of the plants, not just nominally.

    The same specification with a smaller bound for the nominal plant, as large as the rest allows.
    ``options`` go to `design`.  Raises DesignError when none does, and for a specification without ``ms``.
    """
    bound = getattr(specification, "ms", None)
    if bound is None:
        raise DesignError(
            f"a robust design needs a bound on the sensitivity peak, which {specification.kind} has not: use "
            "sensitivity_peak, settling or minimum_variance"
        )

    def attempt(ms: float) -> tuple[Design, Robustness]:
        found = design(plant, replace(specification, ms=ms), **options)  # type: ignore[type-var]
        region = robustness(
            plant,
            found.law,
            options.get("filter"),
            options.get("r_nats"),
            share=share,
            num_draws=num_draws,
            seed=seed,
        )
        return found, region

    best = attempt(bound)
    if best[1].ms <= bound:
        return replace(best[0], specification=specification), best[1]
    nominal, smallest, largest, met = best[1].ms, 1.0, float(bound), None
    for _ in range(BISECTIONS):
        middle = (smallest + largest) / 2
        try:
            found = attempt(middle)
        except DesignError:  # this calm the specification itself cannot be met
            smallest = middle
            continue
        if found[1].ms <= bound:
            smallest, met = middle, found
        else:
            largest = middle
    if met is None:
        raise DesignError(
            f"no design has Ms <= {bound:g} for {share:.0%} of the plants that the records allow (the nominal "
            f"one reaches {_number(nominal)} there): identify with more records or a larger dither, or allow a "
            "larger ms"
        )
    return replace(met[0], specification=specification), met[1]


def _drawn(plant: Plant, num: int, seed: int) -> list[Plant]:
    if not plant.covariance:
        return [plant]
    rng = np.random.default_rng(seed)
    return [plant.drawn(rng) for _ in range(num)]


def _at_share(values: Any, share: float) -> float:
    """Smallest value that ``share`` of the values do not exceed."""
    ordered = np.sort(np.asarray(values, dtype=float))
    return float(ordered[int(np.ceil(share * ordered.size)) - 1])


def _number(value: float) -> str:
    return "instability" if value == inf else f"{value:.3g}"
