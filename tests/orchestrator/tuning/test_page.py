"""The page of a study: predictions, reasons, the winner; nothing from a file is run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from math import nan
from types import SimpleNamespace

import optuna
import pytest

from orchestrator.report.study_page import agreement_figure, render, write_page
from orchestrator.tuning.attempts import OUTCOME, PREDICTED, RANK, REASON, SURPLUS, UNTRAINED
from orchestrator.tuning.judging import search
from orchestrator.tuning.ranking import Pair
from orchestrator.tuning.records import open_study
from orchestrator.tuning.space import suggest
from tests.orchestrator.tuning.conftest import SIMULATION

needs_chromium = pytest.mark.skipif(
    not shutil.which("chromium"), reason="needs chromium (apt-get install chromium)"
)


@pytest.fixture
def trained(make_study):
    """A study with stage one and twelve trials that say they were trained."""

    def make(**changes):
        study = make_study(
            **{"simulation": {**SIMULATION, "objective": "iae"}, "confirm": {"trials": 0}, **changes}
        )
        found = open_study(study, optuna.storages.InMemoryStorage())
        for number in range(12):
            trial = found.ask()
            params = suggest(trial, study.config.space)
            kp, ki = params.values()
            trial.set_user_attr(PREDICTED, [kp])
            if number < 5:
                trial.set_user_attr(RANK, number + 1)
            if len(study.criteria) == 1:
                trial.report(kp, 10)
            trial.set_constraint("collapse", -1.0)
            found.tell(trial, [kp + ki, *([ki] * (len(study.criteria) - 1))])
        return study, found, search(study)

    return make


def figures(page):
    text = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.DOTALL)[1]
    return json.loads(text)


def test_candidates_are_distinguished_by_the_stage_that_chose_them(trained):
    page = render(*trained())
    figure = figures(page)["agreement"]
    first, second = figure["data"]
    assert (first["name"], first["text"]) == ("chosen by stage one", ["0", "1", "2", "3", "4"])
    assert (second["name"], second["text"]) == ("suggested in stage two", [str(n) for n in range(5, 12)])
    assert [figure["layout"][axis]["title"]["text"] for axis in ("xaxis", "yaxis")] == [
        "iae on the plant",
        "iae in training",
    ]
    assert page.count('<div class="plot"') == 1


def test_a_candidate_that_the_plant_has_no_answer_for_is_no_point():
    names = {"predicted": SimpleNamespace(name="iae"), "found": SimpleNamespace(name="rmse")}
    pairs = (
        Pair(number=3, predicted=1.0, found=2.0, was_enqueued=True),
        Pair(number=5, predicted=1.5, found=2.5, was_enqueued=False),
        Pair(number=7, predicted=nan, found=9.0, was_enqueued=False),
        Pair(number=8, predicted=0.5, found=1.0, was_enqueued=True),
    )
    data = agreement_figure(SimpleNamespace(pairs=pairs, **names))["data"]
    assert [(each["x"], each["y"], each["text"]) for each in data] == [
        ([1.0, 0.5], [2.0, 1.0], ["3", "8"]),
        ([1.5], [2.5], ["5"]),
    ]
    assert agreement_figure(SimpleNamespace(pairs=pairs[2:3], **names)) is None


def test_the_page_names_the_command_that_shows_the_rest(trained):
    study, *rest = trained()
    assert f"optuna-dashboard sqlite:///{study.folder}/study.db --host 127.0.0.1</code>" in render(
        study, *rest
    )


def test_the_page_says_what_it_found(trained):
    page = render(*trained())
    assert "is the best of 12 trained: iae" in page
    assert "Spearman ρ" in page
    assert "method: gains_best" in page
    assert len(re.findall(r"<tr><th data-value=\"\d+\">\d+</th>", page)) == 12


def test_a_study_without_a_trial_is_a_page_too(make_study):
    study = make_study()
    page = render(study, open_study(study, optuna.storages.InMemoryStorage()), None)
    assert "No trial has finished" in page
    assert '<h2>Trials that ended early</h2>\n<p class="note">None.</p>' in page
    assert figures(page) == {}


def test_the_page_says_why_a_trial_ended_early(make_study):
    study = make_study()
    found = open_study(study, optuna.storages.InMemoryStorage())
    reasons = {
        "halving: iae 0.4 at iteration 4 of seed 1": optuna.trial.TrialState.PRUNED,
        "seed-0: collapse: entropy <0.1 of the setpoint": optuna.trial.TrialState.PRUNED,
        "seed-1: SIGKILL": optuna.trial.TrialState.FAIL,
    }
    for reason, state in reasons.items():
        trial = found.ask()
        suggest(trial, study.config.space)
        trial.set_user_attr(REASON, reason)
        found.tell(trial, state=state)
    for outcome in (UNTRAINED, SURPLUS):
        trial = found.ask()
        suggest(trial, study.config.space)
        trial.set_user_attr(OUTCOME, outcome)
        found.tell(trial, state=optuna.trial.TrialState.PRUNED)
    section = render(study, found, None).split("<h2>Trials that ended early</h2>")[1].split("</section>")[0]
    rows = re.findall(r'<th data-value="(\d)">\d</th><td>(\w+)</td><td>(.*?)</td>', section)
    assert rows == [
        ("2", "failed", "seed-1: SIGKILL"),
        ("1", "pruned", "seed-0: collapse: entropy &lt;0.1 of the setpoint"),
        ("0", "pruned", "halving: iae 0.4 at iteration 4 of seed 1"),
    ]
    assert "1 more were not trained: Ms is above its bound." in section


def test_nothing_from_a_file_is_run(trained):
    study, found, simulated = trained(description="<script>alert(1)</script>")
    assert "<script>alert(1)" not in render(study, found, simulated)


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize("colours", ["--force-light-mode", "--force-dark-mode"])
def test_a_browser_draws_it_without_a_word_in_the_console(trained, tmp_path, colours):
    path = tmp_path / "report" / "study.html"
    write_page(*trained(), path)
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--virtual-time-budget=8000",
    ]
    command = [
        "chromium",
        *flags,
        colours,
        f"--user-data-dir={tmp_path}/profile",
        "--dump-dom",
        path.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in done.stderr, done.stderr
    drawn = len(figures(path.read_text()))
    assert len(re.findall(r'class="plot js-plotly-plot"', done.stdout)) == drawn
    assert "rgba(NaN" not in done.stdout
