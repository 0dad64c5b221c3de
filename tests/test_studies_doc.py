"""docs/studies.md has every objective that a study can name, with what the code says of it."""

from __future__ import annotations

from pathlib import Path

from orchestrator.tuning.objectives import described, objective

DOC = (Path(__file__).parents[1] / "docs" / "studies.md").read_text()


def rows() -> dict[str, list[str]]:
    """The cells behind every objective's name."""
    lines = [line for line in DOC.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {name.strip("` "): rest for name, *rest in cells}


def test_the_table_is_what_the_code_knows():
    assert rows() == {
        name: [each.unit, each.direction, "yes" if each.simulable else "no", each.meaning]
        for name, each in described().items()
    }
    assert len(rows()) == 11


def test_what_is_described_is_what_a_study_gets():
    for name, each in described().items():
        found = objective(name.replace("<k>", "2"))
        assert (found.unit, found.direction, found.meaning) == (each.unit, each.direction, each.meaning)
