"""`metrics.jsonl`: every number a run measures, one record a line, and how to follow it live.

The writer only appends, so training pays one `write` call an iteration.  A process that is killed
leaves at most one torn line, at the end: readers skip it, the next writer removes it.

A checkpoint holds a `Mark` of the log.  The mark detects every change of the log before it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import Literal, get_args

from orchestrator.errors import ConfigError, named, one_line
from orchestrator.storage.files import naming_full_disk

Kind = Literal["train", "eval"]

RESTORE = "restore the file from a copy, or delete the run's folder, and the run starts over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One line of `metrics.jsonl`; within a kind, steps rise strictly.

    A "train" record of step t belongs to iteration t; an "eval" record of step t to the policy
    before iteration t, so 0 is the fresh policy and `num_iterations` the final one.  Names of
    metrics begin with "eval/" in evaluations and only there, so that (name, step) is unique.
    """

    step: int
    kind: Kind
    time: float  # seconds since 1970
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A state of a log: its first bytes."""

    size: int
    digest: str


class MetricsWriter:
    """Appends records to `metrics.jsonl`; each is on its way to the disk when `append` returns.

    One `write` call a line, so a killed process leaves at most one torn line, at the end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._last_step: dict[Kind, int] = {record.kind: record.step for record in Tail(path).read()}
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        content = path.read_bytes()
        self._size = content.rfind(b"\n") + 1
        self._hash = _hash(content[: self._size])
        os.ftruncate(self._descriptor, self._size)

    def append(self, step: int, metrics: Mapping[str, float], kind: Kind = "train") -> None:
        """Write one record; values that are not finite are left out.

        Raises:
            OSError: the disk is full; the file is left as it was before the call.
        """
        last = self._last_step.get(kind, -1)
        assert step > last, f"{self.path}: {kind} record of step {step} after {last}; truncate on resume"
        for name in metrics:
            assert name.startswith("eval/") == (kind == "eval"), f"{name!r} in a record of kind {kind}"
        finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        line = encode(Record(step=step, kind=kind, time=time.time(), metrics=finite))
        with naming_full_disk(self.path):
            try:
                written = os.write(self._descriptor, line)
                if written < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                os.ftruncate(self._descriptor, self._size)
                raise
        self._size += len(line)
        self._hash.update(line)
        self._last_step[kind] = step

    def mark(self) -> Mark:
        """Bring all records to the disk; give what they are told by."""
        with naming_full_disk(self.path):
            os.fsync(self._descriptor)
        return Mark(size=self._size, digest=self._hash.hexdigest())

    def has(self, step: int, kind: Kind) -> bool:
        """Whether the record of this step is in the file already, so that a resumed run can skip it."""
        return step <= self._last_step.get(kind, -1)

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Tail:
    """Follows a `metrics.jsonl` that another process appends to, truncates or has not made yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._last_line = b""

    def read(self, limit: int | None = None, accept: Callable[[Record], bool] | None = None) -> list[Record]:
        """Complete records since the last call, at most `limit`; from the first after a truncation.

        The first that `accept` refuses, and what comes after it, is left for another call.

        Raises:
            ValueError: a line that is complete is not a record.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, self._offset - len(self._last_line)))
                if file.read(len(self._last_line)) != self._last_line:
                    self._offset, self._last_line = file.seek(0), b""
                lines = [line for line in islice(file, limit) if line.endswith(b"\n")]
        except FileNotFoundError:
            return []
        records = [self._decode(line) for line in lines]
        if accept is not None:
            records = list(takewhile(accept, records))
            lines = lines[: len(records)]
        if lines:
            self._offset += sum(map(len, lines))
            self._last_line = lines[-1]
        return records

    def _decode(self, line: bytes) -> Record:
        try:
            record = Record(**json.loads(line))
            if not (type(record.step) is int and 0 <= record.step < 2**63 and record.kind in get_args(Kind)):
                raise ValueError(f"step and kind are {record.step!r} and {record.kind!r}")
            if any(type(value) not in (float, int) for value in record.metrics.values()):
                raise ValueError("a metric is no number")
            return record
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigError(
                f"{named(self.path)}: not a metrics record: {line[:80]!r} ({one_line(error)}); {RESTORE}"
            ) from error


def encode(record: Record) -> bytes:
    """The line of a record."""
    fields = {"step": record.step, "kind": record.kind, "time": record.time, "metrics": record.metrics}
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def is_marked(path: Path, mark: Mark) -> bool:
    """Whether a log begins as it did when the mark was made."""
    try:
        with path.open("rb") as file:
            return _hash(file.read(mark.size)).hexdigest() == mark.digest
    except FileNotFoundError:
        return mark.size == 0


def damage(path: Path, iteration: int | None = None) -> str | None:
    """What is wrong with a log up to an iteration, or all of it, as far as the records show it: the first thing."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    last: dict[str, int] = {"train": -1, "eval": -1}
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            record = Record(**json.loads(line))
            before, last[record.kind] = last[record.kind], record.step
        except (ValueError, TypeError, KeyError):
            return f"line {number} is not a record"
        if record.step <= before:
            return f"line {number} has {record.kind} step {record.step} after {before}"
        if record.kind == "train" and record.step > before + 1:
            return f"{_iterations(before + 1, record.step)} before line {number}"
    if iteration is not None and last["train"] < iteration - 1:
        return _iterations(last["train"] + 1, iteration)
    return None


def _iterations(first: int, end: int) -> str:
    return (
        f"iteration {first} is missing"
        if end == first + 1
        else f"iterations {first} to {end - 1} are missing"
    )


def _hash(content: bytes) -> hashlib.blake2b:
    return hashlib.blake2b(content, digest_size=16)
