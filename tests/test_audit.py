"""The scan for known vulnerabilities: a finding fails, and no answer is said and fails nothing."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

AUDIT = runpy.run_path(str(Path(__file__).parents[1] / ".ci" / "audit.py"))
FINE = {"name": "numpy", "version": "2.4", "vulns": []}
BAD = {"name": "urllib4", "version": "1.0", "vulns": [{"id": "PYSEC-2030-1", "fix_versions": ["1.1"]}]}
HOPELESS = {"name": "left", "version": "2", "vulns": [{"id": "GHSA-x", "fix_versions": []}]}
UNKNOWN = {"name": "ours", "skip_reason": "Dependency not found on PyPI and could not be audited"}


def answer(*packages: object) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_a_known_vulnerability_fails_with_the_version_that_mends_it(capsys):
    assert AUDIT["verdict"](answer(FINE, BAD, HOPELESS, UNKNOWN), "") == 1
    assert capsys.readouterr().out.splitlines() == [
        "urllib4 1.0: PYSEC-2030-1; mended in 1.1",
        "left 2: GHSA-x; mended in no version yet",
        "not in the database: ours",
    ]


def test_nothing_known_passes_and_says_of_how_many(capsys):
    assert AUDIT["verdict"](answer(FINE, UNKNOWN), "") == 0
    assert "no known vulnerability in 1 of 2 pinned packages" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("stdout", "stderr"),
    [
        (answer(UNKNOWN), ""),
        ("", "Traceback\nrequests.exceptions.ConnectionError: Max retries exceeded"),
        ("", "Traceback\nrequests.exceptions.ProxyError: Unable to connect to proxy"),
    ],
)
def test_no_database_is_said_and_fails_nothing(stdout, stderr, capsys):
    assert AUDIT["verdict"](stdout, stderr) == 0
    assert capsys.readouterr().out.startswith("SKIPPED: known vulnerabilities were not looked up")


def test_any_other_failure_of_the_scan_fails(capsys):
    assert AUDIT["verdict"]("", "error: invalid requirements input: constraints.txt") == 1
    assert "invalid requirements input" in capsys.readouterr().out
