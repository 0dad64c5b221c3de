"""Gains for an identified plant, with the margins they have and what they promise.

>>> from controllers.design import SensitivityPeak, design
>>> from controllers.plants.plant import Plant
>>> plant = Plant(coordinates="absolute", a=(1.0,), b=(0.02,), delay=1, drift=-0.004, noise_std=0.01,
...               level_nats=0.5)
>>> found = design(plant, SensitivityPeak(ms=1.4), r_nats=0.5, low=-2.0, high=2.0)
>>> round(found.law.bias, 3), found.margins.stable, found.margins.extra_iterations > 0
(0.2, True, True)
"""

from controllers.design.authority import Authority, able, authority, reachable_range, require_authority
from controllers.design.errors import DesignError
from controllers.design.gains import Design, Promise, design, promise
from controllers.design.margins import Margins, margins
from controllers.design.reduction import FirstOrder, reduce
from controllers.design.robust import Robustness, robust_design, robustness
from controllers.design.specifications import (
    SIMC,
    SPECIFICATIONS,
    MinimumVariance,
    SensitivityPeak,
    Settling,
    Specification,
)
from controllers.design.stability import StabilityMap, stability_map

__all__ = [
    "SIMC",
    "SPECIFICATIONS",
    "Authority",
    "Design",
    "DesignError",
    "FirstOrder",
    "Margins",
    "MinimumVariance",
    "Promise",
    "Robustness",
    "SensitivityPeak",
    "Settling",
    "Specification",
    "StabilityMap",
    "able",
    "authority",
    "design",
    "margins",
    "promise",
    "reachable_range",
    "reduce",
    "require_authority",
    "robust_design",
    "robustness",
    "stability_map",
]
