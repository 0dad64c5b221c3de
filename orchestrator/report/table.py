"""A table for a terminal, a page or a file: its cells have both their text and the numbers behind it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import nan

NONE = "–"
"""What stands for what is not known."""


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

    def without_unknown(self) -> Table:
        """The same without columns in which no row has anything, as intervals of a single seed."""
        kept = [
            index
            for index in range(len(self.heads))
            if any(cells[index].text not in ("", NONE) for _, cells in self.rows)
        ]
        return replace(
            self,
            heads=tuple(self.heads[index] for index in kept),
            rows=tuple((arm, tuple(cells[index] for index in kept)) for arm, cells in self.rows),
        )
