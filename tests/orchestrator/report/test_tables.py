"""Tables for people and for programs, from the same cells."""

import ast
import csv
import io
import math
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from orchestrator.comparison import Estimate
from orchestrator.comparison.bootstrap import Interval
from orchestrator.comparison.comparison import compare
from orchestrator.comparison.learning import Profile
from orchestrator.comparison.recovery import Recovery
from orchestrator.options import TableName
from orchestrator.report.loop_tables import recovery
from orchestrator.report.table import Cell, Head, Table
from orchestrator.report.table_formats import LATEX, to_csv, to_latex, to_markdown
from orchestrator.report.tables import TABLES, p_value, statistics
from orchestrator.report.terminal import print_one, print_table
from orchestrator.storage.run_data import load_campaign
from orchestrator.storage.run_folder import Status
from tests.orchestrator.report.small_campaigns import campaign_of, make_run

ROOT = Path(__file__).parents[3]


@pytest.fixture
def comparison(make_campaign):
    return compare(load_campaign(make_campaign(seeds=range(6))))


def rows_of(text):
    return {row["arm"]: row for row in csv.DictReader(io.StringIO(text))}


def test_csv_has_the_numbers_in_full(comparison):
    rows = rows_of(to_csv(statistics(comparison)))
    for contrast in comparison.contrasts:
        row = rows[contrast.arm]
        assert float(row["mean"]) == contrast.estimate.mean
        assert float(row["interval low"]) == contrast.interval.low
        assert float(row["interval high"]) == contrast.interval.high
        assert row["verdict"] == contrast.verdict
    assert rows["grpo"]["p (Holm)"] == ""
    assert float(rows["aer"]["p (Holm)"]) == comparison.contrasts[2].p_adjusted


def test_what_never_happened_is_infinite_in_csv_and_never_elsewhere(comparison):
    late = compare(comparison.campaign, target=0.999)
    assert rows_of(to_csv(TABLES["efficiency"](late)))["grpo"]["iterations to 0.999"] == "inf"
    assert "| never |" in to_markdown(TABLES["efficiency"](late))


HOSTILE = Table(
    name="x",
    title="100% & more",
    heads=(Head("a|b_c"), Head("δ")),
    rows=(("{arm}\\x|y", (Cell("50 % ± 2"), Cell("−1", -1.0))),),
)


def test_markdown_keeps_its_columns(comparison):
    lines = to_markdown(HOSTILE).splitlines()
    assert lines[2:] == ["| arm | a\\|b_c | δ |", "|---|---:|---:|", "| {arm}\\\\x\\|y | 50 % ± 2 | −1 |"]
    widths = {
        line.count("|") for line in to_markdown(statistics(comparison)).splitlines() if line.startswith("|")
    }
    assert len(widths) == 1


@pytest.mark.parametrize(("rows", "last"), [(HOSTILE.rows, "Mean over seeds."), ((), "No run has ended.")])
def test_markdown_ends_with_the_note_or_with_why_there_is_no_row(rows, last):
    table = replace(HOSTILE, rows=rows, note="Mean over seeds.", missing="No run has ended.")
    assert to_markdown(table).splitlines()[-1] == last


def test_latex_escapes_what_it_reads_as_commands():
    text = to_latex(HOSTILE)
    assert r"\caption{100\% \& more. }" in text
    assert r"\{arm\}\textbackslash{}x|y & 50 \% \ensuremath{\pm} 2 & \ensuremath{-}1 \\" in text
    assert r"\begin{tabular}{lrr}" in text


def sources_of(module, found):
    """What a module is made of, of all that may put a text into a table."""
    path = ROOT / f"{module.replace('.', '/')}.py"
    if path in found or not path.exists():
        return found
    found.add(path)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and re.match(
            r"orchestrator\.(report|comparison)|controllers", node.module
        ):
            sources_of(node.module, found)
    return found


def test_latex_knows_every_character_that_a_table_may_have():
    paths = sources_of("orchestrator.report.tables", set())
    assert {"summary_cells.py", "loop_tables.py", "contrasts.py", "entropy_law.py"} <= {
        path.name for path in paths
    }
    special = {}
    for path in paths:
        tree = ast.parse(path.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                special |= {character: path.name for character in node.value if not character.isascii()}
    assert "≥" in special
    assert {character: where for character, where in special.items() if character not in LATEX} == {}
    assert all(text.isascii() for text in LATEX.values())


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs LaTeX")
def test_latex_compiles(comparison, tmp_path):
    body = "\n".join(to_latex(build(comparison)) for build in TABLES.values())
    text = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}{body}\\end{{document}}"
    (tmp_path / "x.tex").write_text(text)
    subprocess.run(["pdflatex", "-halt-on-error", "x.tex"], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize("name", list(TABLES))
def test_every_table_fits_a_terminal_of_80_columns(comparison, name):
    console = Console(file=io.StringIO(), width=80)
    print_one(TABLES[name](comparison), console)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert "grpo" in text or name in ("setpoint_quality", "recovery")


def test_the_command_line_names_every_table():
    assert [each.value for each in TableName] == list(TABLES)


def test_columns_without_a_value_are_left_out_on_page_and_terminal(make_campaign):
    one = statistics(compare(load_campaign(make_campaign(seeds=(0,)))))
    assert {"interval", "its interval", "p (Holm)", "d_z"} <= {head.title for head in one.heads}
    known = one.without_unknown()
    assert [head.title for head in known.heads] == ["mean", "start", "difference", "δ", "verdict"]
    assert {len(cells) for _, cells in known.rows} == {5}
    assert not known.note  # no p that the note could be about


@pytest.mark.parametrize("name", list(TABLES))
def test_a_table_has_a_cell_for_every_head(comparison, name):
    table = TABLES[name](comparison)
    assert table.name == name
    assert {len(cells) for _, cells in table.rows} <= {len(table.heads)}
    assert table.rows or table.missing


def test_statistics_by_hand_with_a_column_for_parts_of_the_evaluation():
    """Three digits; the interquartile mean of two seeds and two parts leaves out the lowest and the highest."""
    train = {"entropy": [1.0]}
    arms = [
        make_run("a", 0, train, passed=0.25, add=0.1, sub=0.4),
        make_run("a", 1, train, passed=0.5, add=0.3, sub=0.9),
        make_run("b", 0, train, passed=2 / 3, add=0.5, sub=0.7),
    ]
    table = statistics(compare(campaign_of(*arms), baseline="a"))
    assert [head.title for head in table.heads][:5] == ["mean", "interval", "start", "IQM", "difference"]
    rows = dict(table.rows)
    assert [len(cells) for cells in rows.values()] == [len(table.heads)] * 2
    assert [cells[0].text for cells in rows.values()] == ["0.375", "0.667"]
    assert rows["a"][3].text == "0.350"  # (0.3 + 0.4) / 2, and no interval of so few seeds
    assert (rows["a"][3].value, rows["b"][3].text) == (pytest.approx(0.35), "0.600")
    assert rows["b"][4].text == "+0.417"  # 2/3 − 0.25, of the one seed that both have
    without = statistics(compare(campaign_of(make_run("a", 0, train, passed=0.25)), baseline="a"))
    assert "IQM" not in [head.title for head in without.heads]


def test_recovery_has_a_row_for_every_loop_and_change(comparison):
    """One seed of two comes back after 12 iterations; a loop that is not the usual one is named."""
    each = Recovery(
        arm="aer",
        loop="plus",
        at=80,
        before=Estimate((0.05, 0.07)),
        excursion=Estimate((0.5, 0.7)),
        iterations=Estimate((12.0, math.nan)),
        iae=Estimate((1.0, 2.0)),
        after=Estimate((0.1, 0.1)),
    )
    usual = replace(each, loop="entropy", iterations=Estimate((math.nan, math.nan)))
    table = recovery(replace(comparison, recoveries=(each, usual)))
    cells = [[cell.text for cell in row] for _, row in table.rows]
    assert [arm for arm, _ in table.rows] == ["aer", "aer"]
    assert cells[0][:4] == ["80 plus", "6.0 % ± 1.4", "60.0 % ± 14.1", "12 ± – (1 of 2)"]
    assert cells[1][0] == "80"
    assert cells[1][3] == "never"
    console = Console(file=io.StringIO(), width=80)
    print_one(table, console)
    assert max(map(len, console.file.getvalue().splitlines())) <= 80


@pytest.mark.parametrize(("seeds", "has_spread"), [((0,), False), ((0, 1, 2), True)])
def test_one_seed_has_no_spread_in_the_terminal(make_campaign, seeds, has_spread):
    console = Console(file=io.StringIO(), width=120)
    print_table(load_campaign(make_campaign(seeds=seeds)), console)
    assert ("±" in console.file.getvalue()) == has_spread


def test_too_few_seeds_are_said_on_the_terminal(make_campaign):
    console = Console(file=io.StringIO(), width=100)
    print_table(load_campaign(make_campaign(seeds=(0, 1, 2))), console)
    text = " ".join(console.file.getvalue().split())
    assert "entropic, aer: too few seeds: 3 give no p below 0.5; 13 find an effect of d_z = 1 in 80 %" in text
    assert "Intervals are 95 %, of the mean over seeds, by Student’s t" in text
    assert "assumes that without an effect differences are symmetric" in text


def test_with_parts_of_the_evaluation_the_statistics_fit_too_and_no_number_is_cut(comparison):
    nothing = np.zeros(3)
    middle = Profile(
        arm="x",
        share=nothing,
        low=nothing,
        high=nothing,
        middle=0.5,
        middle_interval=Interval(0.4, 0.6),
        num_parts=2,
    )
    wide = replace(comparison, profiles=(middle,) * len(comparison.profiles))
    for width, spared in ((80, True), (120, False)):
        console = Console(file=io.StringIO(), width=width)
        print_one(statistics(wide), console)
        text = console.file.getvalue()
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text
        assert ("δ" not in text) == spared
    assert "δ" in to_markdown(statistics(wide))


def test_every_row_says_where_the_arm_began_and_what_its_seeds_would_find(comparison):
    rows = rows_of(to_csv(statistics(comparison)))
    for contrast in comparison.contrasts:
        assert float(rows[contrast.arm]["start"]) == pytest.approx(contrast.start.mean)
    assert {rows[arm]["smallest found"] for arm in ("aer", "entropic")} == {"inf"}  # six seeds, two arms
    assert " none |" in to_markdown(statistics(comparison))
    own = rows_of(to_csv(TABLES["progress"](comparison)))
    for row in comparison.progress:
        assert float(own[row.arm]["change"]) == pytest.approx(row.end.mean - row.start.mean)


@pytest.mark.parametrize(
    ("num", "said"), [(3, "by Student’s t, which assumes"), (8, "by the bootstrap (expanded percentiles).")]
)
def test_the_note_says_which_interval_it_is(make_campaign, num, said):
    assert said in statistics(compare(load_campaign(make_campaign(seeds=range(num))))).note


def test_stopped_runs_are_said_beside_the_tables_in_which_they_count(make_campaign):
    folder = make_campaign(seeds=(0, 1, 2))
    for seed in (0, 2):
        folder.run("aer", seed).write_status(Status(status="stopped", iteration=40, num_iterations=150))
    comparison = compare(load_campaign(folder))
    for name in ("summary", "statistics", "progress"):
        assert "that it never reached: aer seeds 0, 2." in TABLES[name](comparison).note
    assert dict(TABLES["summary"](comparison).rows)["aer"][0].text == "3 (2)"
    console = Console(file=io.StringIO(), width=100)
    print_table(comparison.campaign, console)
    assert "counts with its last value: aer seed 2: stopped after 40 of 150" in console.file.getvalue()
    assert "not in the table" not in console.file.getvalue()


@pytest.mark.parametrize(("p", "text"), [(math.nan, "–"), (0.0004, "<0.001"), (0.03125, "0.031")])
def test_a_p_value_claims_no_zero(p, text):
    assert p_value(p) == text
