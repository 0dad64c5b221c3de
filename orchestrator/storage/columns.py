"""`metrics.jsonl` straight to columns: what comparing a thousand runs needs.

pyarrow parses a file as a whole, several files at a time, and gives the same numbers as reading line by
line, four times as fast.  A file that it does not take is read line by line, which says what is
wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.storage.metrics_log import Kind, Record, Tail

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


def read_columns(paths: Sequence[Path], keep: Keep | None = None) -> list[Columns]:
    """The complete records of each file; an empty one where there is none.

    Args:
        paths: the files, read several at a time.
        keep: which metrics to keep, by name; all of them where left out.

    Raises:
        ValueError: a complete line is not a record.
    """
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda path: _read(path, keep), paths))


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


def _read(path: Path, keep: Keep | None) -> Columns:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    table = _parse(content[: content.rfind(b"\n") + 1])
    if table is None:
        return to_columns(Tail(path).read(), keep)
    steps, kinds, times = (table.column(name).to_numpy() for name in ("step", "kind", "time"))
    metrics = table.column("metrics").combine_chunks()
    return Columns(
        train=_series(steps, metrics, kinds == "train", keep),
        evaluation=_series(steps, metrics, kinds == "eval", keep),
        seconds=float(times.max() - times.min()),
    )


def _parse(content: bytes) -> Any:
    """An Arrow table of the records; None where the file is empty or not what the writer writes."""
    import pyarrow as pa
    from pyarrow import json

    if not content:
        return None
    one_block = json.ReadOptions(use_threads=False, block_size=len(content) + 1)
    try:
        table = json.read_json(pa.BufferReader(content), read_options=one_block)
    except pa.ArrowInvalid:
        return None
    types: dict[str, Any] = {field.name: field.type for field in table.schema}
    as_written = (
        types.keys() == {"step", "kind", "time", "metrics"}
        and pa.types.is_int64(types["step"])
        and pa.types.is_string(types["kind"])
        and pa.types.is_float64(types["time"])
        and pa.types.is_struct(types["metrics"])
        and all(pa.types.is_float64(field.type) for field in types["metrics"])
        and not any(table.column(name).null_count for name in types)
    )
    return table if as_written else None


def _series(steps: NDArray[np.int64], metrics: Any, chosen: NDArray[np.bool_], keep: Keep | None) -> Series:
    """The chosen rows of a struct of metrics, copied: a view would keep the whole file."""
    values = {}
    for field, column in zip(metrics.type, metrics.flatten(), strict=True):
        if keep is None or keep(field.name):
            own = column.to_numpy(zero_copy_only=False)[chosen]
            if np.isfinite(own).any():
                values[field.name] = own
    return Series(steps=steps[chosen], values=values)
