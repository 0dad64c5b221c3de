"""The families of metrics: the names under which trackers show numbers that are recorded under a name of one word.

A tracker draws the metrics of a family, those with one prefix, in one section.  So `entropy` belongs beside
`entropy/p90` there, as `entropy/mean`.  Records keep the short names, which loops read at every iteration; a user
may write either.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

FAMILIES = {
    "entropy": "entropy/mean",
    "surprisal": "entropy/surprisal",
    "covariance": "covariance/mean",
    "reward": "rollout/reward",
    "pass_rate": "rollout/pass_rate",  # nosec B105  # no password
    "starvation": "rollout/starvation",
    "teaching_groups": "rollout/teaching_groups",
    "loss": "update/loss",
    "grad_norm": "update/grad_norm",
    "learning_rate": "update/learning_rate",
}
"""From the name in the records to that in its family; any other name is the same in both."""

_RECORDED = {family: name for name, family in FAMILIES.items()}


def family_name(name: str) -> str:
    """The name of a metric in its family, which trackers show."""
    return FAMILIES.get(name, name)


def recorded_name(name: str) -> str:
    """The name of a metric in the records, from either of its names."""
    return _RECORDED.get(name, name)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern such as ``rollout/*`` has a metric of the records, by either of its names."""
    return any(fnmatchcase(each, pattern) for pattern in patterns for each in {name, family_name(name)})
