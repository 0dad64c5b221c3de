"""The page of a study: every picture has data or says why not, and nothing from a file is run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from math import log10

import optuna
import pytest

from orchestrator.tuning.figures import of_study
from orchestrator.tuning.marks import OUTCOME, RANK, REASON, SURPLUS, UNTRAINED
from orchestrator.tuning.page import render, write_page
from orchestrator.tuning.parameters import by_importance, toward_good
from orchestrator.tuning.records import open_study
from orchestrator.tuning.simulated import search
from orchestrator.tuning.space import suggest
from tests.orchestrator.tuning.conftest import KI, KP, SIMULATION

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
            trial.set_user_attr("entrostat.predicted", [kp])
            if number < 5:
                trial.set_user_attr(RANK, number + 1)
            if len(study.objectives) == 1:
                trial.report(kp, 10)
            trial.set_constraint("collapse", -1.0)
            found.tell(trial, [kp + ki, *([ki] * (len(study.objectives) - 1))])
        return study, found, search(study)

    return make


def figures(page):
    text = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.DOTALL)[1]
    return json.loads(text)


def test_every_picture_has_data(trained):
    page = render(*trained())
    drawn = figures(page)
    assert set(drawn) == {
        *(
            f"{stage}-0-{kind}"
            for stage in ("trained", "simulated")
            for kind in ("history", "importance", "slice", "contour-0")
        ),
        "trained-course",
        "agreement",
    }
    for name, figure in drawn.items():
        assert figure["data"], name
        assert f'<div class="plot" id="{name}">' in page
    assert "Not drawn" not in page


def test_the_page_says_what_it_found(trained):
    page = render(*trained())
    assert "is the best of 12 trained: iae" in page
    assert "Spearman ρ" in page
    assert "method: gains_best" in page
    assert len(re.findall(r"<tr><th data-value=\"\d+\">\d+</th>", page)) == 12


def test_several_objectives_have_a_pareto_front(trained):
    drawn = figures(render(*trained(objective=["iae", "effort"])))
    assert "trained-pareto" in drawn
    assert {"trained-0-importance", "trained-1-importance"} <= drawn.keys()


def test_importance_is_for_what_is_good(trained):
    _, found, _ = trained(objective=["iae", "pass_at_1"])
    trial = found.trials[0]
    low, high = (toward_good(found, index)["target"](trial) for index in (0, 1))
    assert (low, high) == (trial.values[0], -trial.values[1])
    assert toward_good(trained()[1], 0) == {}  # Optuna knows the direction of one


LAW = "loops.entropy.law.kind"
RATE, INITIAL = "loops.entropy.law.rate", "loops.entropy.law.initial"
DECAY, DEAD = "loops.entropy.filter.decay", "loops.entropy.dead_band_nats"
BY_LAW = {
    LAW: {"choices": ["pid", "dual_ascent"]},
    KP: {"low": 0.01, "high": 10.0, "log": True, "when": {LAW: "pid"}},
    KI: {"low": 0.001, "high": 1.0, "log": True, "when": {LAW: "pid"}},
    RATE: {"low": 0.001, "high": 1.0, "log": True, "when": {LAW: "dual_ascent"}},
    INITIAL: {"choices": [0.1], "when": {LAW: "dual_ascent"}},
}


def conditional(make_study, num=20, **changes):
    """Trials of two laws: a good kp is 1, a good rate 0.1, and nothing else matters."""
    study = make_study(**{"space": BY_LAW, "objective": ["iae", "effort"], **changes})
    found = open_study(study, optuna.storages.InMemoryStorage())
    for _ in range(num):
        trial = found.ask()
        params = suggest(trial, study.config.space)
        iae = abs(log10(params[KP])) if KP in params else 2 + abs(log10(params[RATE]) + 1)
        trial.set_constraint("collapse", -1.0)
        found.tell(trial, [iae, params.get(KI, 2.0)][: len(study.objectives)])
    return study, found


def has_data(figure):
    return all(len(trace["x"]) and len(trace["y"]) for trace in figure["data"])


def test_a_space_with_conditions_is_drawn_law_by_law(make_study):
    """kp and ki occur together, kp and rate never do; what has one value is no parameter."""
    study, found = conditional(make_study)
    page = render(study, found, None)
    drawn = figures(page)
    assert {name for name in drawn if "contour" in name} == {"trained-0-contour-0", "trained-1-contour-0"}
    assert "iae: kp × ki where kind pid" in page
    assert "Not drawn" not in page
    assert all(has_data(figure) for figure in drawn.values())
    contour = drawn["trained-0-contour-0"]
    titles = {contour["layout"][axis]["title"]["text"] for axis in ("xaxis", "yaxis")}
    assert titles == {"kp", "ki"}
    num_pid = sum(KP in trial.params for trial in found.trials)
    assert len(contour["data"][1]["x"]) == num_pid
    assert any(z is not None for row in contour["data"][0]["z"] for z in row)
    for kind in ("importance", "slice"):
        assert "initial" not in json.dumps(drawn[f"trained-0-{kind}"])


def test_each_objective_has_its_own_order_of_parameters(make_study):
    _, found = conditional(make_study, num=60)
    assert by_importance(found, 0)[0] == KP
    assert by_importance(found, 1)[0] == KI
    assert INITIAL not in by_importance(found, 0)


def test_every_group_of_parameters_has_its_pairs(make_study):
    space = {
        **BY_LAW,
        DEAD: {"low": 0.0, "high": 0.1},
        DECAY: {"low": 0.5, "high": 0.9, "when": {LAW: "pid"}},
    }
    filtered = {"arms.0.loops.entropy.filter": {"kind": "ema", "decay": 0.5}}
    study, found = conditional(make_study, num=40, space=space, objective="iae", in_campaign=filtered)
    page = render(study, found, None)
    drawn = {name: figure for name, figure in figures(page).items() if "contour" in name}
    assert (
        len(drawn) == 4
    )  # three pairs of the three most important of kp, ki, decay and dead band; rate × dead band
    assert all(has_data(figure) for figure in drawn.values())
    assert len(re.findall(" × [a-z_]+ where kind pid<", page)) == 3
    assert len(re.findall(" × [a-z_]+ where kind dual_ascent<", page)) == 1


@pytest.mark.parametrize("num", range(1, 8))
def test_a_page_of_few_trials_warns_of_nothing(make_study, num, recwarn):
    study, found = conditional(make_study, num=num)
    drawn = figures(render(study, found, None))
    assert all(has_data(figure) for figure in drawn.values())
    assert not recwarn.list


def test_parameters_of_one_value_are_no_pictures(make_study):
    study = make_study(space={KP: {"choices": [1.0]}})
    found = open_study(study, optuna.storages.InMemoryStorage())
    for _ in range(3):
        trial = found.ask()
        suggest(trial, study.config.space)
        found.tell(trial, 1.0)
    assert set(figures(render(study, found, None))) == {"trained-0-history"}


def test_too_few_trials_say_nothing_about_importance(make_study):
    study = make_study()
    found = open_study(study, optuna.storages.InMemoryStorage())
    trial = found.ask()
    suggest(trial, study.config.space)
    found.tell(trial, 1.0)
    figures_of = {figure["id"]: figure for figure in of_study(found, ("iae",), "trained")}
    assert "number of trials is too small" in figures_of["trained-0-importance"]["missing"]
    assert figures_of["trained-0-slice"]["data"]


def test_values_over_decades_are_on_a_logarithmic_axis(make_study):
    study = make_study()
    for largest, axis in ((1000.0, "log"), (3.0, None)):
        found = open_study(study, optuna.storages.InMemoryStorage())
        for value in (1.0, 2.0, largest):
            trial = found.ask()
            suggest(trial, study.config.space)
            found.tell(trial, value)
        slices = next(f for f in of_study(found, ("iae",), "trained") if f["id"] == "trained-0-slice")
        assert slices["layout"]["yaxis"].get("type") == axis
        assert slices["layout"]["xaxis"]["title"]["text"] in ("kp", "ki")


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
