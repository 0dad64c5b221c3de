"""Rows of a data set, each with its place: from JSON lines, from Parquet, from a hub.

Errors name the file, the line and the cure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]

BATCH_ROWS = 4096
"""Rows of a table that are Python objects at one time."""


def jsonl_rows(path: str, example: str) -> Iterator[tuple[Row, str]]:
    """Each object of a file of JSON lines, with ``file, line 7``; blank lines are passed over.

    Raises:
        ValueError: the file cannot be read, or a line of it, for which ``example`` shows a right one.
    """
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            yield _object(line, f"{path}, line {number}", example), f"{path}, line {number}"


def parquet_rows(path: str) -> Iterator[tuple[Row, str]]:
    """Each row of a Parquet file, with ``file, row 7``.

    Raises:
        ValueError: the file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = Path(path).expanduser()
    try:
        with pq.ParquetFile(file) as table:
            batches = table.iter_batches(batch_size=BATCH_ROWS)
            rows = (row for batch in batches for row in batch.to_pylist())
            for number, row in enumerate(rows, start=1):
                yield row, f"{path}, row {number}"
    except OSError as error:
        raise ValueError(_unreadable(path, error.strerror or str(error))) from error
    except pa.ArrowException as error:
        raise ValueError(f"{path}: is no Parquet file that can be read ({error}); write it again") from error


def hub_rows(
    dataset: str, *, subset: str | None, split: str, revision: str | None
) -> Iterator[tuple[Row, str]]:
    """Each row of a data set that ``datasets`` loads, a hub id or a folder, with ``id/split, row 7``.

    Raises:
        ValueError: it cannot be loaded.
    """
    place = f"{dataset}/{split}"
    for number, row in enumerate(_load(dataset, subset, split, revision), start=1):
        yield row, f"{place}, row {number}"


def _load(dataset: str, subset: str | None, split: str, revision: str | None) -> Any:
    import datasets

    try:
        return datasets.load_dataset(dataset, name=subset, split=split, revision=revision)
    # What datasets and the hub client raise: no such set, split or subset, no network, a broken file.
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{dataset}: cannot be loaded (split {split!r}, subset {subset!r}, revision {revision!r}): {reason}; "
            f"check these names; without a network download it elsewhere (hf download {dataset} --repo-type "
            "dataset) and give its files as path"
        ) from error


def _text(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: must be UTF-8 text, byte {error.start} is not; save it as UTF-8"
        ) from error
    except OSError as error:
        raise ValueError(_unreadable(path, error.strerror)) from error


def _unreadable(path: str, reason: str | None) -> str:
    where = Path(path).expanduser().absolute()
    return f"{path}: cannot be read ({reason}); looked for {where}, check the path"


def _object(line: str, place: str, example: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place}: is not JSON ({error}); write one object a line, {example}") from error
    if not isinstance(row, dict):
        raise ValueError(f"{place}: must be an object, got {line.strip()[:40]}; write {example}")
    return row
