"""What was foretold and what was found, as points."""

from __future__ import annotations

from math import nan
from types import SimpleNamespace

from orchestrator.tuning.figures import of_agreement
from orchestrator.tuning.foretold import Pair

NAMES = {"predicted": SimpleNamespace(name="iae"), "found": SimpleNamespace(name="rmse")}


def test_candidates_are_told_apart_by_the_stage_that_chose_them():
    pairs = (
        Pair(number=3, predicted=1.0, found=2.0, was_enqueued=True),
        Pair(number=5, predicted=1.5, found=2.5, was_enqueued=False),
        Pair(
            number=7, predicted=nan, found=9.0, was_enqueued=False
        ),  # a law that the plant has no answer for
        Pair(number=8, predicted=0.5, found=1.0, was_enqueued=True),
    )
    first, second = of_agreement(SimpleNamespace(pairs=pairs, **NAMES))["data"]
    assert (first["name"], first["x"], first["y"], first["text"]) == (
        "chosen by stage one", [1.0, 0.5], [2.0, 1.0], ["3", "8"],
    )  # fmt: skip
    assert (second["name"], second["x"], second["y"], second["text"]) == (
        "suggested in stage two", [1.5], [2.5], ["5"],
    )  # fmt: skip
    (alone,) = of_agreement(SimpleNamespace(pairs=pairs[:1], **NAMES))["data"]
    assert alone["name"] == "chosen by stage one"
    assert "missing" in of_agreement(SimpleNamespace(pairs=pairs[2:3], **NAMES))
