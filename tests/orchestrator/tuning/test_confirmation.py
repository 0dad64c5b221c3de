"""The best are trained again on fresh seeds before one of them wins; nothing is lost or trained twice on the way."""

from __future__ import annotations

import io

import numpy as np
import optuna
import pytest
import yaml
from rich.console import Console

from controllers.plants.simulation import simulate
from orchestrator.errors import ConfigError
from orchestrator.report.study_page import render
from orchestrator.report.study_terminal import print_summary
from orchestrator.storage.run_folder import CampaignFolder
from orchestrator.tracking.groups import read_group
from orchestrator.tuning import worker as workers
from orchestrator.tuning.attempts import CONFIRMS, FOLDER, REASON, SURPLUS
from orchestrator.tuning.confirmation import (
    begin_confirmation,
    confirming,
    continue_confirmation,
    fresh_seeds,
    simulated_confirmation,
    to_confirm,
)
from orchestrator.tuning.judging import search
from orchestrator.tuning.preset import preset_text
from orchestrator.tuning.records import find_confirmations, open_confirmations, open_study
from orchestrator.tuning.storage import open_storage, storage_url
from orchestrator.tuning.trial_mlflow import TrialRuns
from orchestrator.tuning.trial_queue import TrialQueue
from orchestrator.tuning.winner import winner
from orchestrator.tuning.worker import TrialWorker
from tests.orchestrator.tuning.conftest import (
    KI,
    KP,
    PLANT,
    SIMULATION,
    TRACKING,
    InMemory,
    ask,
    stop_when_recorded,
)
from tests.orchestrator.tuning.test_worker import NoTracker


@pytest.fixture
def told(make_study):
    """A study over with trials of given values and violations; gives it, its Optuna study and the storage."""

    def make(*trials, **changes):
        study = make_study(**{"budget": {"trials": len(trials)}, **changes})
        storage = InMemory()
        found = open_study(study, storage)
        for number, (values, violation) in enumerate(trials):
            found.enqueue_trial({KP: 1.0 + number / 10, KI: 0.1})
            _tell(study, found, values, violation)
        return study, found, storage

    return make


def _tell(study, found, values, violation=0.0):
    trial = ask(found)
    for path, dimension in study.config.space.items():
        trial.suggest_float(path, dimension.low, dimension.high, log=dimension.log)
    trial.set_constraint("collapse", violation)
    found.tell(trial, values)


def confirm(study, found, storage, *values):
    """Tell what the confirmations in the queue came to, in its order."""
    _, confirmations = begin_confirmation(study, storage, found)
    for value in values:
        _tell(study, confirmations, value)
    return confirmations


def said(study, found, confirmations, simulated=None):
    told = io.StringIO()
    print_summary(study, found, simulated, Console(file=told, width=200), confirmations)
    return told.getvalue()


def test_the_winner_is_the_best_by_its_confirmed_value(told):
    """Trial 1 was lucky: 1.0 as found, 3.0 on fresh seeds."""
    study, found, storage = told((1.5, 0.0), (1.0, 0.0), (2.0, 0.0), (9.0, 0.0))
    confirmations = confirm(study, found, storage, 3.0, 1.6, 2.5)
    assert [trial.user_attrs[CONFIRMS] for trial in confirmations.trials] == [1, 0, 2]
    best = winner(study, found, None, confirmations=confirmations)
    assert best.trial.number == 0
    assert best.confirmed.values == (1.6,)
    content = preset_text(study, best)
    line = "trial 0 of 3 confirmed, iae 1.6 over 3 fresh seeds (1000, 1001, 1002), iae 1.5 as found"
    assert content.splitlines()[0].endswith(f"{line}.")
    assert line[1:] in yaml.safe_load(content)["notes"]
    for text in (said(study, found, confirmations), render(study, found, None, confirmations)):
        assert "Trial 0 is the best of 3 confirmed: iae 1.6 over 3 fresh seeds (1000, 1001, 1002)" in text
        assert "as found, among 4 trained: iae 1.5 over 2 seeds" in text
    rows = said(study, found, confirmations).split("confirmed over")[1].splitlines()[1:4]
    assert [row.split()[:3] for row in rows] == [["0", "1.5", "1.6"], ["2", "2", "2.5"], ["1", "1", "3"]]
    assert "<td" in render(study, found, None, confirmations).split("The best on fresh seeds")[1]


def test_before_it_is_confirmed_nothing_wins_and_one_line_says_so(told):
    study, found, storage = told((1.5, 0.0), (1.0, 0.0), budget={"trials": 3})
    assert begin_confirmation(study, storage, found) is None
    with pytest.raises(ConfigError) as caught:
        winner(study, found, None)
    assert "\n" not in str(caught.value)
    assert "is not confirmed yet (2 of 3 trials are done); run `entrostat tune " in str(caught.value)
    assert "take trial 1, the best found, as it is with --trial 1" in str(caught.value)
    assert winner(study, found, None, number=1).said == "trial 1, iae 1 as found and not confirmed"
    _tell(study, found, 2.0)
    confirmations = confirm(study, found, storage, 3.0)
    with pytest.raises(ConfigError, match="1 of the best 3 are trained again on 3 fresh seeds"):
        winner(study, found, None, confirmations=confirmations)
    assert "Trial 1 is the best of 3 trained: iae 1, over 2 seeds and not confirmed yet." in said(
        study, found, confirmations
    )
    assert "not confirmed yet" in render(study, found, None, confirmations)


def test_what_collapses_on_fresh_seeds_does_not_win(told):
    study, found, storage = told((1.5, 0.0), (1.0, 0.0), confirm={"trials": 2})
    _, confirmations = begin_confirmation(study, storage, found)
    first = ask(confirmations)
    first.set_user_attr(REASON, "collapse: entropy is low")
    confirmations.tell(first, state=optuna.trial.TrialState.PRUNED)
    _tell(study, confirmations, 1.7)
    assert winner(study, found, None, confirmations=confirmations).trial.number == 0
    assert "collapse: entropy is low" in said(study, found, confirmations)
    assert "collapse: entropy is low" in render(study, found, None, confirmations)


def test_where_nothing_stands_fresh_seeds_nothing_wins(told):
    study, found, storage = told((1.5, 0.0), confirm={"trials": 1})
    _, confirmations = begin_confirmation(study, storage, found)
    _tell(study, confirmations, 1.7, violation=0.2)
    with pytest.raises(ConfigError, match=r"none of the best 1 trials of 'gains' held on 3 fresh seeds"):
        winner(study, found, None, confirmations=confirmations)
    assert "none of the best 1 held on 3 fresh seeds" in said(study, found, confirmations)


def test_fresh_seeds_are_none_of_the_studys_and_more_begin_with_the_same(make_study):
    study = make_study(seeds=[0, 1, 1001], confirm={"seeds": 4})
    assert fresh_seeds(study) == (1000, 1002, 1003, 1004)
    assert fresh_seeds(make_study(seeds=[0, 1, 1001], confirm={"seeds": 2})) == (1000, 1002)
    assert len(fresh_seeds(make_study(seeds=[0, 1, 2, 3]))) == 4
    assert len(fresh_seeds(make_study(seeds=[0]))) == 3


def test_only_feasible_trials_are_confirmed_and_only_once(told):
    study, found, storage = told((1.0, 0.5), (2.0, 0.0), (3.0, 0.0), (4.0, 0.0), confirm={"trials": 2})
    confirmations = confirm(study, found, storage, 2.5, 3.5)
    assert begin_confirmation(study, storage, found) is None
    assert [trial.user_attrs[CONFIRMS] for trial in confirmations.trials] == [1, 2]
    study = told(*[(1.0, 0.0)] * 4, confirm={"trials": 3})[0]  # one more is asked for
    begin_confirmation(study, storage, found)
    assert [trial.user_attrs[CONFIRMS] for trial in confirmations.trials] == [1, 2, 3]


def test_none_is_confirmed_where_none_is_asked_for(told):
    study, found, storage = told((1.0, 0.0), confirm={"trials": 0})
    assert begin_confirmation(study, storage, found) is None
    assert winner(study, found, None).confirmed is None
    assert "confirm.trials is 0" in render(study, found, None)


def test_a_study_is_the_same_whatever_its_confirmation(make_study):
    assert make_study(confirm={"trials": 0}).definition() == make_study().definition()


def test_of_a_front_the_best_by_each_objective_are_confirmed_first(told):
    values = [(1.0, 9.0), (2.0, 8.0), (3.0, 7.0), (4.0, 6.0), (9.0, 1.0), (9.5, 5.0)]
    study, found, _ = told(*((each, 0.0) for each in values), objective=["iae", "effort"])
    assert [trial.number for trial in to_confirm(study, found, study.criteria)] == [0, 4, 2]


@pytest.fixture
def opened(make_study, fake_training, monkeypatch):
    """A study, its Optuna study, its storage and a way to work at it, each time as a new command."""
    monkeypatch.setattr(workers, "WAIT_SECONDS", 0.02)

    def make(**changes):
        study = make_study(**{"budget": {"trials": 3}, "seeds": [0], **changes})
        url = storage_url(study.config.storage, study.folder)
        storage = open_storage(url, TRACKING)
        runs = TrialRuns(NoTracker(), url)
        return study, open_study(study, storage), storage, lambda *at: TrialWorker(*at, storage, runs)

    return make


def test_confirmations_train_in_folders_of_their_own_on_fresh_seeds(opened):
    """The stand-in is |log10 kp| / 10 + 0.001 · seed nats off the setpoint, 20 iterations long."""
    study, found, storage, work = opened(confirm={"trials": 2, "seeds": 2})
    assert work(study, found).run() == 0
    assert begin_confirmation(study, storage, found) is not None
    asked, confirmations = continue_confirmation(study, storage)
    assert work(asked, confirmations).run() == 0
    ranked = sorted(found.trials, key=lambda trial: trial.value)
    for trial, best in zip(confirmations.trials, ranked[:2], strict=True):
        off = abs(np.log10(best.params[KP])) / 10
        assert trial.value == pytest.approx(20 * (off + (1.000 + 1.001) / 2))
        folder = study.folder / f"confirm-{best.number:04d}"
        assert trial.user_attrs[FOLDER] == folder.name
        assert sorted(path.name for path in folder.glob("seed-*")) == ["seed-1000", "seed-1001"]
        group = read_group(folder)
        assert group.name == f"confirmation of trial {best.number}"
        assert group.tags["entrostat.kind"] == "confirmation"
        assert group.tags["entrostat.confirms"] == str(best.number)
        assert group.metrics["objective/iae"] == pytest.approx(trial.value)
    assert winner(study, found, None, confirmations=confirmations).trial.number == ranked[0].number
    assert len(found.trials) == 3  # none of them counts as a trial


def test_more_seeds_train_only_what_is_new(opened):
    study, found, storage, work = opened(confirm={"trials": 1, "seeds": 1})
    work(study, found).run()
    work(*begin_confirmation(study, storage, found)).run()
    (metrics,) = study.folder.glob("confirm-*/seed-1000/metrics.jsonl")
    before = metrics.stat().st_mtime_ns
    study, found, storage, work = opened(confirm={"trials": 1, "seeds": 2})
    asked, confirmations = begin_confirmation(study, storage, found)
    assert work(asked, confirmations).run() == 0
    assert metrics.stat().st_mtime_ns == before
    assert (metrics.parents[1] / "seed-1001" / "metrics.jsonl").exists()
    assert winner(study, found, None, confirmations=confirmations).confirmed is not None
    assert find_confirmations(study, storage, fresh_seeds(study)).study_name == "gains.confirmed_on_2"


def test_a_confirmation_that_is_let_go_of_goes_on_where_it_was(opened, monkeypatch):
    study, found, storage, work = opened(confirm={"trials": 1, "seeds": 1})
    work(study, found).run()
    asked, confirmations = begin_confirmation(study, storage, found)
    monkeypatch.setenv("FAKE_PAUSE", "0.05")
    worker = work(asked, confirmations)
    stop_when_recorded(worker, study.folder)
    assert worker.run() == 143
    monkeypatch.setenv("FAKE_PAUSE", "0")
    study, found, storage, work = opened(confirm={"trials": 1, "seeds": 1})
    assert begin_confirmation(study, storage, found) is not None
    asked, confirmations = continue_confirmation(study, storage)
    assert work(asked, confirmations).run() == 0
    assert [trial.state.name for trial in confirmations.trials] == ["FAIL", "COMPLETE"]
    first, second = confirmations.trials
    assert first.user_attrs[CONFIRMS] == second.user_attrs[CONFIRMS]
    assert first.params == second.params
    assert first.user_attrs[FOLDER] == second.user_attrs[FOLDER]
    run = CampaignFolder(study.folder).run(second.user_attrs[FOLDER], 1000)
    assert [each.step for each in run.records() if each.kind == "train"] == list(range(20))


def test_two_commands_that_queue_at_once_train_each_once(opened, monkeypatch):
    """The other command has looked before this one queues, and queues after it."""
    study, found, storage, work = opened(confirm={"trials": 2, "seeds": 1})
    work(study, found).run()
    real, commands = TrialQueue.enqueue, []

    def between(queue, *arguments):
        commands.append(queue)
        if len(commands) == 1:
            begin_confirmation(study, storage, found)
        real(queue, *arguments)

    monkeypatch.setattr(TrialQueue, "enqueue", between)
    asked, confirmations = begin_confirmation(study, storage, found)
    assert len(commands) == 2
    assert work(asked, confirmations).run() == 0
    assert [trial.state.name for trial in confirmations.trials] == ["COMPLETE"] * 2
    assert begin_confirmation(study, storage, found) is None


def test_a_worker_that_knows_of_fewer_trains_all_that_are_in_the_queue(opened):
    """It was started for one confirmation; another command has asked for two since."""
    study, found, storage, work = opened(confirm={"trials": 2, "seeds": 1})
    work(study, found).run()
    _, confirmations = begin_confirmation(study, storage, found)
    assert work(confirming(study, 1), confirmations).run() == 0
    assert [trial.state.name for trial in confirmations.trials] == ["COMPLETE"] * 2
    assert winner(study, found, None, confirmations=confirmations).confirmed is not None


def test_a_confirmation_that_was_closed_as_surplus_is_put_into_the_queue_again(opened):
    study, found, storage, work = opened(confirm={"trials": 1, "seeds": 1})
    work(study, found).run()
    _, confirmations = begin_confirmation(study, storage, found)
    surplus = TrialQueue(confirmations, storage)
    surplus.end(surplus.take(), SURPLUS, "the budget is used up")  # by an earlier version
    queue = begin_confirmation(study, storage, found)
    assert queue is not None
    assert work(*queue).run() == 0
    assert [trial.state.name for trial in confirmations.trials] == ["FAIL", "COMPLETE"]
    assert begin_confirmation(study, storage, found) is None
    assert winner(study, found, None, confirmations=confirmations).confirmed is not None


def test_simulated_candidates_are_confirmed_on_fresh_noise(make_study):
    study = make_study(simulation=SIMULATION, budget={"trials": 0}, confirm={"trials": 2, "seeds": 5})
    simulated = search(study)
    known = simulated_confirmation(study, simulated)
    assert known.seeds == (2, 3, 4, 5, 6)
    assert len(known.rows) == 2
    for row in known.rows:
        loop = study.simulated_loop(row.trial.params).build()
        traces = [
            simulate(loop, study.start.plant, 20, seed=seed, initial_nats=0.5, telemetry=study.telemetry)
            for seed in known.seeds
        ]
        errors = [sum(abs(step.r - step.y) for step in trace) for trace in traces]
        assert row.values == (pytest.approx(np.mean(errors)),)
    assert known.rows[0].values <= known.rows[1].values
    found = open_study(study, optuna.storages.InMemoryStorage())
    best = winner(study, found, simulated)
    assert best.trial.number == known.rows[0].trial.number
    assert "over 5 fresh noises (2 to 6)" in said(study, found, None, simulated)
    assert "over 5 fresh noises (2 to 6)" in preset_text(study, best)


def test_a_plant_without_noise_has_nothing_to_confirm(make_study):
    still = {**PLANT, "plant": {**PLANT["plant"], "noise_std": 0.0}}
    study = make_study(simulation=SIMULATION, budget={"trials": 0}, in_plant=still)
    simulated = search(study)
    found = open_study(study, optuna.storages.InMemoryStorage())
    assert winner(study, found, simulated).confirmed is None
    assert "The plant has no noise" in render(study, found, simulated)


def test_confirmations_of_another_study_are_refused(make_study, told):
    study, found, storage = told((1.0, 0.0))
    begin_confirmation(study, storage, found)
    with pytest.raises(ConfigError, match="differs"):
        open_confirmations(make_study(objective="rmse"), storage, fresh_seeds(study))
