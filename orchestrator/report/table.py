"""A table for a terminal, a page or a file: its cells have both their text and the numbers behind it."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan


@dataclass(frozen=True, slots=True)
class Cell:
    """What a reader sees, and what a program gets: nan where there is no number."""

    text: str
    value: float = nan
    low: float = nan
    high: float = nan
    middle: float = nan
    """What an interval is around, where another column has its number."""


@dataclass(frozen=True, slots=True)
class Head:
    """Title of a column and what it means."""

    title: str
    meaning: str = ""
    spare: bool = False
    """Whether a terminal that is too narrow leaves it out; files and the page never do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table; ``rows`` are an arm's name and a cell for each of ``heads``."""

    name: str
    title: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    note: str = ""
    missing: str = ""
    """Stands in the place of a table without rows."""
