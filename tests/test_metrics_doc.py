"""docs/metrics.md names every number that a run records, with its unit and what it is normalised over."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
import torch

from controllers.guardrails import DETECTORS
from orchestrator.campaign import prepare
from orchestrator.commands.catalogue import describe
from orchestrator.configuration.resolve import read_campaign
from orchestrator.tracking.groups import read_group
from orchestrator.training import run as worker
from orchestrator.tuning.criteria import criterion
from orchestrator.tuning.judging import Score
from orchestrator.tuning.trial import State, TrialEnding
from orchestrator.tuning.trial_mlflow import RUN_ID, TrialRuns

DOC = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text()


def documented() -> dict[str, tuple[str, str, str]]:
    """Unit, normalisation and meaning of every metric of the page's tables."""
    rows = {}
    for line in DOC.split("## In MLflow")[0].splitlines():
        if line.startswith("| `"):
            name, *cells = (cell.strip() for cell in line.strip("|").split(" | "))
            rows[name.strip("` ")] = tuple(cells)
    return rows


def is_documented(metric: str) -> bool:
    """Whether a metric is in a table; `<k>` is a number and any other `<word>` one part of a name."""
    for name in documented():
        escaped = re.escape(name).replace("<k>", r"\d+")
        if re.fullmatch(re.sub(r"<\w+>", "[^/]+", escaped), metric):
            return True
    return False


def test_every_row_has_a_unit_a_normalisation_and_a_meaning():
    assert len(documented()) > 50
    for name, cells in documented().items():
        assert len(cells) == 3, name
        assert all(cells), name


def test_a_name_that_is_not_there_is_not_documented():
    assert is_documented("loop/entropy/term/d")
    assert not is_documented("loop/entropy/term/d/x")
    assert not is_documented("eval/pass_at_many")


def test_every_sensor_is_there_with_its_own_unit():
    for name, summary in describe("sensors"):
        assert name in documented(), name
        unit = re.match(r"\[([^]]+)\]", summary)[1]
        assert documented()[name][0] == unit, name


def test_every_detector_is_there_with_its_defaults_and_what_they_rest_on():
    table = DOC.split("| detector |")[1].split("\n\n")[0]
    rows = {cells[0].strip("| "): cells for cells in (line.split(" | ") for line in table.splitlines()[2:])}
    assert rows.keys() == DETECTORS.keys()
    for name, (_, _, _, threshold, patience, evidence) in rows.items():
        detector = DETECTORS[name]()
        assert float(threshold.split()[0]) == detector.threshold, name
        assert int(patience) == detector.patience, name
        assert "][" in evidence, f"{name}: no link to the log"
        assert re.search(r"docs/log\.md|chosen", DETECTORS[name].__doc__), name


def test_every_link_to_the_log_has_its_heading():
    log = (Path(__file__).parents[1] / "docs" / "log.md").read_text()
    headings = re.findall(r"^## (.*)", log, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    linked = re.findall(r"log\.md#(\S+)", DOC)
    assert len(linked) == 3
    assert set(linked) <= anchors


class NoTracker:
    """Trials are not tracked."""

    def deliver_group(self, path: Path) -> None:
        return None


class Trial:
    """As much of an Optuna trial as a link reads."""

    study = SimpleNamespace(study_name="gains")
    number = 3


def test_everything_that_a_trial_has_in_mlflow_is_there(tmp_path):
    """A trial that ended, and one whose workers died."""
    runs = TrialRuns(NoTracker(), "study.db")
    names = ("collapse", "explosion", "sensitivity")
    ending = TrialEnding(
        state="pruned", reason="why", score=Score(values=(1.0,), violations=dict.fromkeys(names, 1.0))
    )
    tags: set[str] = set()
    metrics: set[str] = set()
    runs.begin(tmp_path, Trial(), {"a.b": 1}, rank=1, confirms=2)
    runs.end(tmp_path, ending, SimpleNamespace(criteria=(criterion("iae"),)))
    for give_up in (False, True):
        if give_up:
            runs.give_up(tmp_path, "why")
        group = read_group(tmp_path)
        tags |= group.tags.keys()
        metrics |= group.metrics.keys()
    text = DOC.split("## In MLflow")[1]
    of_trials = text.split("What a trial has beside that")[1]
    assert len(tags) == 10
    assert {tag for tag in tags if f"`{tag}`" not in of_trials} == set()
    assert {name.split("/")[0] for name in metrics} == {"objective", "constraint"}
    assert {name for name in metrics if f"`{name.split('/')[0]}/<name>`" not in of_trials} == set()
    assert {name for name in names if f"`{name}`" not in of_trials} == set()
    states = of_trials.split("| `entrostat.trial_state` |")[1].splitlines()[0]
    assert {state for state in get_args(State) if f"`{state}`" not in states} == set()
    assert f"`{RUN_ID}`" in of_trials


@pytest.mark.trains
@pytest.mark.slow
def test_every_number_that_runs_record_is_there(write_campaign):
    torch.set_num_threads(1)
    entropy = {"reference": {"kind": "constant", "value_nats": 1.0}}
    arms = [
        {"name": "bonus", "method": "aer_pi"},
        {"name": "filtered", "method": "aent", "loops": {"entropy": entropy}},
        {"name": "clipped", "method": "clip_higher"},
        {"name": "gspo", "method": "gspo"},
    ]
    changes = {
        "arms": arms,
        "learner.iterations": 2,
        "learner.epochs": 2,
        "task.operations": ["+", "-"],
        "evaluation.pass_at": [2, 4],
    }
    campaign = read_campaign(write_campaign(changes))
    folder = prepare(campaign)
    recorded: set[str] = set()
    for arm in campaign.arms:
        run = folder.run(arm.name, 0)
        assert worker.main(str(run.path)) == worker.EXIT_DONE, run.read_status().reason
        recorded |= {name for record in run.records() for name in record.metrics}
    assert len(recorded) > 60
    assert {name for name in recorded if not is_documented(name)} == set()
