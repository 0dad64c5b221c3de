"""Helpers that the commands share: tables of figures, and files that are all written at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite, isinf
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestrator.storage.files import replace_file
from orchestrator.storage.outputs import naming_output, require_writable

Rows = Iterable[tuple[str, str]]


def print_rows(console: Console, title: str, rows: Rows) -> None:
    """A table of names and values."""
    table = Table(
        title=escape(title), title_justify="left", box=SIMPLE_HEAD, show_header=False, padding=(0, 1)
    )
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(escape(name), escape(value))
    console.print(table)


def rows_text(title: str, rows: Rows) -> str:
    """The same table as plain text, for a file."""
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    return "\n".join([title, "", *(f"{name:<{width}}  {value}" for name, value in rows)]) + "\n"


def say(console: Console, text: str) -> None:
    """A line that is not cut and in which nothing is markup."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def figure(value: float, unit: str = "", digits: int = 3) -> str:
    """`0.123 nats/token`; what is not known is a dash, what has no end is said to have none."""
    if isinf(value):
        return "no end" if value > 0 else "none"
    if not isfinite(value):
        return "–"
    return f"{value:.{digits}g} {unit}".rstrip()


def write_all(files: Mapping[Path, bytes]) -> list[Path]:
    """Write files that are complete already, each as a whole; the first one last, for it stands for all.

    Raises:
        ConfigError: one of them cannot be written; where that can be known beforehand, none has been.
    """
    paths = list(files)
    for path in paths:
        with naming_output(path, "--output"):
            path.parent.mkdir(parents=True, exist_ok=True)
        require_writable(path, "--output")
    for path in reversed(paths):
        with naming_output(path, "--output"):
            replace_file(path, files[path])
    return paths


def beside(path: Path, name: str) -> Path:
    """`plant.yaml`, `bode.png` → `plant-bode.png` in the same folder."""
    return path.with_name(f"{path.stem}-{name}")
