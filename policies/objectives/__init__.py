"""Objectives: from log-probabilities and advantages to a loss for each token.

Dropping a file here that defines an ``Objective`` registers it.
An objective is a frozen dataclass whose fields are its constants; its mathematics is a pure function
beside it.  r = π / π_old is the ratio at the sampled token, A the advantage.
"""

from importlib import import_module
from pkgutil import iter_modules

from policies.objectives.aggregation import Aggregation, token_weights, weight_denominator
from policies.objectives.base import (
    BoundedObjective,
    Bounds,
    Metrics,
    Objective,
    clip_metrics,
    ratio_metrics,
    reduce_metrics,
)
from policies.objectives.cispo import Cispo, cispo
from policies.objectives.clipped_surrogate import ClippedSurrogate, clipped_surrogate
from policies.objectives.gradient_preserving import GradientPreserving, gradient_preserving
from policies.objectives.gspo import Gspo, gspo
from policies.objectives.policy_gradient import PolicyGradient, policy_gradient

for _module in iter_modules(__path__, prefix=f"{__name__}."):
    import_module(_module.name)

OBJECTIVES: dict[str, type[Objective]] = {
    each.kind: each
    for family in (Objective, BoundedObjective)
    for each in family.__subclasses__()
    if each is not BoundedObjective
}

__all__ = [
    "OBJECTIVES",
    "Aggregation",
    "Bounds",
    "Cispo",
    "ClippedSurrogate",
    "GradientPreserving",
    "Gspo",
    "Metrics",
    "Objective",
    "PolicyGradient",
    "cispo",
    "clip_metrics",
    "clipped_surrogate",
    "gradient_preserving",
    "gspo",
    "policy_gradient",
    "ratio_metrics",
    "reduce_metrics",
    "token_weights",
    "weight_denominator",
]
