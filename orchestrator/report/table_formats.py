"""Writes tables as text for other programs: CSV, Markdown, LaTeX (booktabs)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from math import isfinite

from orchestrator.report.table import Table

LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "−": r"\ensuremath{-}",
    "±": r"\ensuremath{\pm}",
    "≥": r"\ensuremath{\geq}",
    "×": r"\ensuremath{\times}",
    "·": r"\ensuremath{\cdot}",
    "→": r"\ensuremath{\to}",
    "δ": r"\ensuremath{\delta}",
    "²": r"\ensuremath{^2}",
    "–": "--",
    "…": r"\ldots{}",
    "’": "'",
    "“": "``",
    "”": "''",
}


def to_csv(table: Table) -> str:
    """One row an arm; numbers in full, intervals as two columns, texts where there is no number."""
    fields: list[tuple[str, Callable[[int], str]]] = []
    for index, head in enumerate(table.heads):
        column = [cells[index] for _, cells in table.rows]
        numeric = any(cell.value == cell.value for cell in column)  # inf is a number here
        ranged = any(isfinite(cell.low) for cell in column)
        if numeric:
            fields.append((head.title, lambda row, c=column: _number(c[row].value)))  # type: ignore[misc]
        if ranged:
            fields.append((f"{head.title} low", lambda row, c=column: _number(c[row].low)))  # type: ignore[misc]
            fields.append((f"{head.title} high", lambda row, c=column: _number(c[row].high)))  # type: ignore[misc]
        if not (numeric or ranged):
            fields.append((head.title, lambda row, c=column: c[row].text))  # type: ignore[misc]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["arm", *(title for title, _ in fields)])
    for row, (arm, _) in enumerate(table.rows):
        writer.writerow([arm, *(text(row) for _, text in fields)])
    return file.getvalue()


def to_markdown(table: Table) -> str:
    """A pipe table under its title."""
    heads = ["arm", *(head.title for head in table.heads)]
    lines = [f"**{table.title}**", "", _pipes(heads), "|---|" + "---:|" * len(table.heads)]
    lines += [_pipes([arm, *(cell.text for cell in cells)]) for arm, cells in table.rows]
    note = table.note if table.rows else table.missing
    return "\n".join([*lines, "", note]).rstrip() + "\n"


def to_latex(table: Table) -> str:
    """A `table` environment; needs `booktabs`."""
    heads = ["arm", *(head.title for head in table.heads)]
    rows = [[arm, *(cell.text for cell in cells)] for arm, cells in table.rows]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_tex(f'{table.title}. {table.note}')}}}",
        rf"\begin{{tabular}}{{l{'r' * len(table.heads)}}}",
        r"\toprule",
        " & ".join(map(_tex, heads)) + r" \\",
        r"\midrule",
        *(" & ".join(map(_tex, row)) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


FORMATS: dict[str, Callable[[Table], str]] = {"csv": to_csv, "markdown": to_markdown, "latex": to_latex}


def _number(value: float) -> str:
    """All digits, which read back to the same number; inf for what never happened."""
    return "" if value != value else repr(float(value))


def _pipes(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("\\", "\\\\").replace("|", "\\|") for cell in cells) + " |"


def _tex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)
