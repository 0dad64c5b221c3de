"""Records as columns, the form in which many runs are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from orchestrator.storage.metrics_log import Kind, Record

Array = NDArray[np.float64]
Keep = Callable[[str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Records of one kind as columns: `values[name][i]` belongs to `steps[i]`, nan where left out."""

    steps: NDArray[np.int64]
    values: dict[str, Array]

    def get(self, name: str) -> Array:
        """One metric over the steps; all nan where it was never measured."""
        known = self.values.get(name)
        return np.full(self.steps.shape, nan) if known is None else known


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What one `metrics.jsonl` holds."""

    train: Series
    evaluation: Series
    seconds: float
    """From its first to its last record, interruptions included; nan without any."""


def to_columns(records: Sequence[Record], keep: Keep | None = None) -> Columns:
    """Columns of records that were read line by line."""
    times = [record.time for record in records]
    return Columns(
        train=to_series(records, "train", keep),
        evaluation=to_series(records, "eval", keep),
        seconds=max(times) - min(times) if times else nan,
    )


def to_series(records: Sequence[Record], kind: Kind, keep: Keep | None = None) -> Series:
    """Columns of the records of one kind."""
    rows = [record for record in records if record.kind == kind]
    names = dict.fromkeys(name for row in rows for name in row.metrics if keep is None or keep(name))
    return Series(
        steps=np.array([row.step for row in rows], dtype=np.int64),
        values={name: np.array([row.metrics.get(name, nan) for row in rows]) for name in names},
    )
