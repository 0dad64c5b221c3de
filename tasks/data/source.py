"""Settings of a task whose problems are read: from a file, or from a data set of a hub or a folder, with its splits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.base import Problem
from tasks.data.problem_sets import Sides, digest, two_sides
from tasks.data.rows import Row, hub_rows, jsonl_rows, parquet_rows
from tasks.splits import HELD_OUT_FRACTION

Rows = Iterator[tuple[Row, str]]
"""Rows, each with its place for messages."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is trained on and what is held out: files, or splits of a data set."""

    dataset: str | None = None
    """A data set of the hub, ``openai/gsm8k``, or a folder, as ``datasets.load_dataset`` takes it."""

    path: str | None = None
    """Instead of a ``dataset``, a file: ``.parquet``, or JSON lines with one object a line."""

    subset: str | None = None
    """Configuration of a hub data set, ``main``."""

    split: str = "train"
    """Split of a hub data set that is trained on."""

    revision: str | None = None
    """Commit, tag or branch of a hub data set; null is the newest, which may differ tomorrow."""

    held_out_split: str | None = None
    """Split of a hub data set that is held out."""

    held_out_path: str | None = None
    """File of held-out problems, with the same columns."""

    held_out_fraction: float = HELD_OUT_FRACTION
    """Fraction of the prompts held out if neither of them is given; above 0 and below 1."""

    def __post_init__(self) -> None:
        if (self.dataset is None) == (self.path is None):
            raise ValueError(
                f"path must be set where dataset is not, and only there, got {self.path!r} and {self.dataset!r}"
            )
        for name in ("dataset", "path", "held_out_path", "subset", "split", "revision", "held_out_split"):
            if (text := getattr(self, name)) is not None and not text.strip():
                raise ValueError(f"{name} must be a name, got {text!r}; name it, or leave the key out")
        if not 0 < self.held_out_fraction < 1:
            raise ValueError(f"held_out_fraction must be between 0 and 1, got {self.held_out_fraction}")
        if self.held_out_split is not None and self.held_out_path is not None:
            raise ValueError(
                f"held_out_path must not be set beside held_out_split, got {self.held_out_path!r} and "
                f"{self.held_out_split!r}; keep one"
            )
        for name in ("subset", "revision", "held_out_split"):
            if self.path is not None and getattr(self, name) is not None:
                raise ValueError(f"{name} is for a dataset, and {self.path!r} is a file; remove it")

    @abstractmethod
    def sides(self) -> Sides:
        """All its problems; read on first use, once in each process."""

    def reads(self) -> Mapping[str, Path | str]:
        """A data set of a hub counts by the problems that come of it, whatever its revision is called."""
        found: dict[str, Path | str] = {}
        for name in ("path", "held_out_path"):
            if (file := getattr(self, name)) is not None:
                found[name] = Path(file)
        if self.dataset is not None:
            # As `datasets.load_dataset` takes it: a folder, where there is one of that name.
            if (folder := Path(self.dataset)).is_dir():
                found["dataset"] = folder
            else:
                found[f"dataset: {self.dataset}"] = digest(self.sides())
        return found

    def rows(self, example: str) -> tuple[str, Rows]:
        """The name of what is trained on, and its rows; ``example`` shows a right one.

        Raises:
            ValueError: while they are read, it cannot be.
        """
        return self._split(self.split) if self.path is None else _file(self.path, example)

    def held_out_rows(self, example: str) -> tuple[str, Rows] | None:
        """The same of what is held out; None where that is a fraction of the others."""
        if self.held_out_path is not None:
            return _file(self.held_out_path, example)
        return None if self.held_out_split is None else self._split(self.held_out_split)

    def sides_by(self, problems_of: Callable[[str, Rows], list[Problem]], example: str) -> Sides:
        """All problems, read from the name and the rows of what is trained on and, where it stands apart, of what is
        held out."""
        held_out = self.held_out_rows(example)
        name, rows = self.rows(example)
        return two_sides(
            problems_of(name, rows),
            None if held_out is None else problems_of(*held_out),
            self.held_out_fraction,
            name=name,
        )

    def _split(self, split: str) -> tuple[str, Rows]:
        assert self.dataset is not None, "a file has no splits"
        rows = hub_rows(self.dataset, subset=self.subset, split=split, revision=self.revision)
        return f"{self.dataset}/{split}", rows


def _file(path: str, example: str) -> tuple[str, Rows]:
    return path, parquet_rows(path) if Path(path).suffix.lower() == ".parquet" else jsonl_rows(path, example)
