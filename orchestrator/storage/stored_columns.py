"""The file `metrics.npz`: the records of an ended run as columns, which need no parsing.

`metrics.jsonl` stays the original, and the columns are used only while they are a copy of it.  The
log only grows or is cut back, and every record has its time, so two logs of the same size and end are equal.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.storage.columns import Columns, Keep, Series, to_columns
from orchestrator.storage.files import replace_file
from orchestrator.storage.metrics_log import Tail

END_BYTES = 4096
"""Bytes at the end of a log that are compared: the last record with its time, or a good part of it."""

_BROKEN = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)
"""What reading an archive with a bit that has changed can raise."""


def store_columns(log: Path) -> None:
    """Write the columns of a completed log beside it.

    Raises:
        OSError: the disk is full.
        ValueError: a complete line of the log is not a record.
    """
    columns = to_columns(Tail(log).read())
    arrays = _arrays("train", columns.train) | _arrays("evaluation", columns.evaluation)
    content = io.BytesIO()
    np.savez(content, log=_stamp(log), seconds=columns.seconds, allow_pickle=False, **arrays)
    replace_file(_beside(log), content.getvalue())


def stored_columns(log: Path, keep: Keep | None = None) -> Columns | None:
    """The columns of a log; None where none are stored, or where it has changed since."""
    try:
        with zipfile.ZipFile(_beside(log)) as archive:
            if archive.testzip() is not None:  # numpy looks at no checksum of what it has not read to the end
                return None
        with _beside(log).open("rb") as file, np.load(file) as arrays:
            if not np.array_equal(arrays["log"], _stamp(log)):
                return None
            return Columns(
                train=_series("train", arrays, keep),
                evaluation=_series("evaluation", arrays, keep),
                seconds=float(arrays["seconds"]),
            )
    except _BROKEN:  # or none is there: the log has all
        return None


def _beside(log: Path) -> Path:
    return log.with_suffix(".npz")


def _stamp(log: Path) -> NDArray[np.uint8]:
    """Size of a log and its end, as bytes: what tells one state of it from another."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - END_BYTES))
        return np.frombuffer(b"%d " % size + file.read(), dtype=np.uint8)


def _arrays(kind: str, series: Series) -> dict[str, NDArray[Any]]:
    return {
        f"{kind}/steps": series.steps,
        f"{kind}/names": np.array(list(series.values), dtype=np.str_),
        f"{kind}/values": np.array(list(series.values.values()), dtype=np.float64),
    }


def _series(kind: str, arrays: Mapping[str, NDArray[Any]], keep: Keep | None) -> Series:
    """The columns that are asked for, copied where that is not all of them: a view would keep the rest."""
    rows = zip(map(str, arrays[f"{kind}/names"]), arrays[f"{kind}/values"], strict=True)
    values = dict(rows) if keep is None else {name: row.copy() for name, row in rows if keep(name)}
    return Series(steps=arrays[f"{kind}/steps"], values=values)
