"""A run says what its graders were held to, and counts what became of them."""

from __future__ import annotations

import logging

import pytest

from orchestrator.campaign import prepare
from orchestrator.configuration.resolve import read_campaign
from orchestrator.storage.run_folder import RunFolder, read_json
from orchestrator.training import run as worker
from orchestrator.training import telling
from tasks.grading.pool import GradingPool

RULES = {
    *("privileges", "network", "processes", "writing", "signals"),
    *("memory", "file size", "open files", "core dumps"),
}
SHORT = {"learner.iterations": 1, "evaluation.every": 1, "execution.grading_memory_megabytes": 3000}


def test_a_run_records_what_its_graders_were_held_to(write_campaign, monkeypatch):
    pools = []

    def make(*arguments, **settings):
        pools.append(GradingPool(*arguments, **settings))
        return pools[-1]

    monkeypatch.setattr("orchestrator.training.held_out.GradingPool", make)
    folder = prepare(read_campaign(write_campaign(SHORT))).run("held", 0)
    assert worker.main(str(folder.path)) == worker.EXIT_DONE
    confinement = read_json(folder.graders_path)
    assert confinement == pools[0].confinement
    assert confinement.keys() >= RULES
    assert confinement["memory"].startswith(("3000 MiB", "NOT HELD"))
    (record,) = [record for record in folder.records() if record.kind == "train"]
    counts = {name: value for name, value in record.metrics.items() if name.startswith("grader/")}
    assert counts == {f"grader/{what}": 0.0 for what in ("timeouts", "errors", "crashes", "regraded")}


@pytest.mark.parametrize(
    ("confinement", "warning"),
    [
        ({"network": "none, by seccomp", "memory": "no limit"}, ""),
        (
            {"network": "NOT HELD: no filter for darwin", "core dumps": "none", "signals": "NOT HELD: x"},
            "this system does not enforce these rules on graders: network, signals; see docs/security.md",
        ),
        (
            {"network": "no TCP, by Landlock 7; all else NOT HELD: old kernel"},
            "this system does not enforce these rules on graders: network; see docs/security.md",
        ),
    ],
)
def test_what_a_system_does_not_hold_is_in_the_log(tmp_path, caplog, confinement, warning):
    folder = RunFolder(tmp_path)
    with caplog.at_level(logging.INFO):
        telling.record_confinement(folder, confinement)
    told = [entry.getMessage() for entry in caplog.records]
    assert read_json(folder.graders_path) == confinement
    assert all(f"{rule}: {held}" in told[0] for rule, held in confinement.items())
    assert told[1:] == ([warning] if warning else [])
