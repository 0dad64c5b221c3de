"""Rows of a data set, each with its place: from JSON lines, from Parquet, from a hub.

Parquet is read by pyarrow and a hub by ``datasets``, batch by batch.  JSON lines are read here, because ``datasets``
makes one table of them: a text that looks like a day becomes one, 0.10 becomes 0.1 and 2 beside it 2.0, a key that one row
has is None in all others, and what is wrong has no line (``tests/tasks/data/test_rows.py`` holds that this is so).

Numbers keep their text: those of JSON are ``Decimal`` where they are not whole, and those of a table that are
in less than double precision are the numbers of their shortest text: 0.1, and not 0.10000000149.  Errors name
the file, the line and the cure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from decimal import Decimal
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
    for number, line in enumerate(_lines(path), start=1):
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
            yield from _table_rows(table.iter_batches(batch_size=BATCH_ROWS), path)
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
    loaded = _load(dataset, subset, split, revision)
    yield from _table_rows(loaded.with_format("arrow").iter(batch_size=BATCH_ROWS), f"{dataset}/{split}")


def _table_rows(batches: Any, name: str) -> Iterator[tuple[Row, str]]:
    """Each row of the batches of a table."""
    number = 0
    for batch in batches:
        exact = {field.name: convert for field in batch.schema if (convert := _exactly(field.type))}
        for row in batch.to_pylist():
            number += 1
            for key, convert in exact.items():
                row[key] = convert(row[key])
            yield row, f"{name}, row {number}"


def _exactly(kind: Any) -> Callable[[Any], Any] | None:
    """What makes the values of a column the numbers that are written there; None where they are."""
    import pyarrow as pa

    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        import numpy as np

        precision = np.float32 if pa.types.is_float32(kind) else np.float16
        return lambda value: (
            value if value is None or not math.isfinite(value) else float(str(precision(value)))
        )
    if pa.types.is_struct(kind):
        inner = {field.name: convert for field in kind if (convert := _exactly(field.type))}
        if inner:
            return lambda value: (
                value
                if value is None
                else {key: inner[key](item) if key in inner else item for key, item in value.items()}
            )
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        convert = _exactly(kind.value_type)
        if convert is not None:
            return lambda value: value if value is None else [convert(item) for item in value]
    return None


def _load(dataset: str, subset: str | None, split: str, revision: str | None) -> Any:
    import datasets
    from huggingface_hub import is_offline_mode

    try:
        return datasets.load_dataset(dataset, name=subset, split=split, revision=revision)
    # What datasets and the hub client raise: no such set, split or subset, no network, a broken file.
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if is_offline_mode() and isinstance(error, OSError):
            reason = (
                "it is not in the cache, and the hub does not answer or is not to be asked (HF_HUB_OFFLINE)"
            )
        raise ValueError(
            f"{dataset}: cannot be loaded (split {split!r}, subset {subset!r}, revision {revision!r}): {reason}; "
            f"check these names; without a network download it elsewhere (hf download {dataset} --repo-type "
            "dataset) and give its files as path"
        ) from error


def _lines(path: str) -> Iterator[str]:
    file = Path(path).expanduser()
    try:
        with file.open(encoding="utf-8-sig") as lines:
            yield from lines
    except UnicodeDecodeError as error:
        start = _wrong_byte(file)
        raise ValueError(f"{path}: must be UTF-8 text, byte {start} is not; save it as UTF-8") from error
    except OSError as error:
        raise ValueError(_unreadable(path, error.strerror)) from error


def _wrong_byte(file: Path) -> int:
    """The first byte of a file that is not UTF-8: a file that is read by lines knows only where it is in a piece."""
    try:
        file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return error.start
    return 0


def _unreadable(path: str, reason: str | None) -> str:
    where = Path(path).expanduser().absolute()
    return f"{path}: cannot be read ({reason}); looked for {where}, check the path"


def _object(line: str, place: str, example: str) -> Row:
    try:
        row = json.loads(line, parse_float=Decimal, object_pairs_hook=_without_repeated_keys)
    except _RepeatedKeyError as error:
        raise ValueError(f"{place}: has the key {error.key!r} twice; keep one of them") from error
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"{place}: is not JSON ({error}); write one object a line, {example}") from error
    if not isinstance(row, dict):
        raise ValueError(f"{place}: must be an object, got {line.strip()[:40]}; write {example}")
    return row


class _RepeatedKeyError(ValueError):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _RepeatedKeyError(key)
        found[key] = value
    return found
