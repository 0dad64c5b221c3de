"""docs/studies.md has every criterion that a study can name, with what the code says of it."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.tuning.criteria import criterion, described

DOC = (Path(__file__).parents[1] / "docs" / "studies.md").read_text()


def rows() -> dict[str, list[str]]:
    """The cells behind every criterion's name."""
    return {name.strip("`"): rest for name, *rest in table()[2:]}


def table() -> list[list[str]]:
    """Cells as a page shows them: every bar that is not escaped ends one."""
    lines = [line for line in DOC.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_every_row_has_as_many_cells_as_the_head():
    assert {len(cells) for cells in table()} == {5}


def test_the_table_is_what_the_code_knows():
    assert rows() == {
        name: [each.unit, each.direction, "yes" if each.simulable else "no", each.meaning]
        for name, each in described().items()
    }
    assert len(rows()) == 11


def test_what_is_described_is_what_a_study_gets():
    for name, each in described().items():
        found = criterion(name.replace("<k>", "2"))
        assert (found.unit, found.direction, found.meaning) == (each.unit, each.direction, each.meaning)
