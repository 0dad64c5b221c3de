"""The curves of a model card: what was measured, and no setpoint of another signal beside entropy."""

from __future__ import annotations

from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from orchestrator.report.card_figure import learning_curves
from orchestrator.storage.run_data import load_runs


@pytest.fixture
def record(make_campaign):
    (run,) = load_runs([make_campaign(seeds=(0,), arms=("entropic",)).run("entropic", 0)])
    return run


@pytest.fixture
def drawn(monkeypatch):
    """Titles of the panels, each with the names of its curves, of the figure that is written last."""
    found = {}

    def look(figure, file, **_):
        found.update({axis.get_title(): [line.get_label() for line in axis.lines] for axis in figure.axes})

    monkeypatch.setattr(Figure, "savefig", look)
    return found


def test_what_was_measured_has_a_panel(record, drawn):
    assert learning_curves(record) is not None
    assert drawn == {
        "held-out pass rates": ["pass_at_1", "pass_at_8"],
        "entropy [nats/token]": ["entropy", "setpoint"],
        "reward": ["reward"],
    }


def test_a_setpoint_of_another_signal_is_not_drawn_beside_entropy(record, drawn):
    loops = {"entropy": record.info.config["loops"]["entropy"] | {"sensor": "teaching_groups"}}
    learning_curves(replace(record, info=replace(record.info, config={"loops": loops})))
    assert drawn["entropy [nats/token]"] == ["entropy"]


def test_a_run_without_records_has_no_picture(record):
    nothing = replace(record.train, steps=record.train.steps[:0], values={})
    assert learning_curves(replace(record, train=nothing, evaluation=nothing)) is None
