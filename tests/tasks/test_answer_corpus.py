"""Thousands of responses with known grades, made by rules: none is judged wrongly that is not listed as known."""

import re
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.answer_corpus import KNOWN, KNOWN_PAIRS, Pair, corpus, stored
from benchmarks.answer_kinds import KINDS
from benchmarks.answers import main, wrong_grades

ROOT = Path(__file__).parents[2]


def test_the_stored_corpus_is_the_one_that_is_made():
    assert stored() == corpus()


def test_the_corpus_is_large_and_even():
    pairs = stored()
    assert len(set(pairs)) == len(pairs) >= 2000
    assert 0.4 < sum(pair.right for pair in pairs) / len(pairs) < 0.6
    assert {pair.rule.split(",")[0] for pair in pairs} >= {kind.__name__ for kind in KINDS}
    grades = Counter((pair.gold, pair.response) for pair in pairs)
    assert max(grades.values()) == 1, "no pair has two grades"


def test_a_sample_is_judged_rightly():
    assert [pair for pair in wrong_grades(stored()[::7]) if pair.rule not in KNOWN] == []


@pytest.mark.slow
def test_the_command_finds_none_in_the_whole_corpus_that_is_not_known(capsys):
    assert main() == 0
    said = capsys.readouterr().out
    assert re.search(r"^\d+ grades are wrong, 0 of them not known$", said, re.MULTILINE)
    assert all(f"{rule}: " in said for rule in KNOWN)


def test_a_grade_that_is_wrong_ends_the_command_with_status_1(capsys, monkeypatch):
    pairs = [
        Pair("made up", "5", r"\boxed{5}", right=False),
        *(pair for pair in stored() if pair.rule in KNOWN),
    ]
    monkeypatch.setattr("benchmarks.answers.stored", lambda: pairs)
    assert main() == 1
    assert "WRONG  made up: '\\\\boxed{5}' for '5' is wrong" in capsys.readouterr().out


def test_a_known_fault_that_is_mended_ends_it_with_status_1(capsys, monkeypatch):
    pairs = [pair for pair in stored() if pair.rule in KNOWN and pair.rule != "known: sums"]
    monkeypatch.setattr("benchmarks.answers.stored", lambda: pairs)
    assert main() == 1
    assert "MENDED known: sums" in capsys.readouterr().out


def test_what_is_known_is_short_and_in_the_docs():
    documented = (ROOT / "docs" / "answers.md").read_text()
    assert len(KNOWN) <= 10
    assert set(KNOWN_PAIRS) == set(KNOWN)
    for rule, reason in KNOWN.items():
        name = rule.removeprefix("known: ")
        row = next((line for line in documented.splitlines() if line.startswith(f"| {name} |")), "")
        assert " ".join(reason.split()) in row, name
