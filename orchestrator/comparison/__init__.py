"""Compares arms from the records of their runs: figures, curves, statistics."""

from orchestrator.comparison.curves import Curve, curve
from orchestrator.comparison.summary import (
    SETTLING_TOLERANCE,
    SETTLING_WINDOW,
    Estimate,
    Summary,
    change_correlation,
    changes,
    entropy_and_reward,
    summarise,
)

__all__ = [
    "SETTLING_TOLERANCE",
    "SETTLING_WINDOW",
    "Curve",
    "Estimate",
    "Summary",
    "change_correlation",
    "changes",
    "curve",
    "entropy_and_reward",
    "summarise",
]
