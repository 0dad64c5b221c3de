"""One trial: what it makes of its runs, and that a run which need not go on is stopped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.execution.local import Local
from orchestrator.storage.run_folder import CampaignFolder
from orchestrator.tuning.trial import TrainedTrial
from tests.orchestrator.tuning.conftest import KI, KP, SIMULATION

GOOD = {KP: 10.0, KI: 0.1}  # 0.1 nats off, seed 1 a thousandth more


class Reports:
    """An Optuna trial that remembers its reports and prunes when it is told to."""

    def __init__(self, prune_at=None):
        self.reported = {}
        self._prune_at = prune_at

    def report(self, value, step):
        assert step not in self.reported
        self.reported[step] = value

    def should_prune(self):
        return self._prune_at is not None and max(self.reported) >= self._prune_at


@pytest.fixture
def train(make_study, fake_training):
    """Train a candidate of the small study; gives how it ended, what it reported, and the folder."""

    def run(params=GOOD, trial=None, interrupted=lambda: "", name="trial-0000", **changes):
        study = make_study(**changes)
        trial = trial or Reports()
        with Local().connect(study.folder, threads=1) as crew:
            ending = TrainedTrial(study, trial, params, name, crew=crew, interrupted=interrupted).run()
        return ending, trial.reported, CampaignFolder(study.folder)

    return run


def status(folder, seed, name="trial-0000"):
    return folder.run(name, seed).read_status()


def test_a_trial_is_the_mean_over_its_seeds(train):
    ending, reported, folder = train()
    assert ending.state == "complete"
    assert ending.score.values == (pytest.approx(20 * (0.1 + 0.101) / 2),)
    assert [status(folder, seed).status for seed in (0, 1)] == ["done", "done"]
    assert folder.run("trial-0000", 1).read_info().campaign == "gains"
    assert sorted(reported) == list(range(2, 41, 2))  # trained iterations, seed after seed


def test_a_loop_is_judged_by_its_own_sensor(train):
    loop = {
        "sensor": "surprisal",
        "reference": {"kind": "constant", "value_nats": 0.4},
        "law": {"kind": "pid", "kp": 1.0, "ki": 0.1, "error": "log"},
        "actuator": {"kind": "bonus"},
    }
    ending, *_ = train(in_campaign={"arms": [{"name": "held", "loops": {"entropy": loop}}]})
    # surprisal is acted out as half a nat below entropy, which is 0.1 nats below the setpoint
    assert ending.score.values == (pytest.approx(20 * (0.6 + 0.601) / 2),)


def test_what_is_reported_is_of_the_same_seeds_and_iterations_for_every_trial(train):
    _, reported, _ = train(report_every=5)
    assert sorted(reported) == [5, 10, 15, 20, 25, 30, 35, 40]
    assert reported[5] == pytest.approx(5 * 0.1)
    assert reported[20] == pytest.approx(20 * 0.1)
    assert reported[25] == pytest.approx((20 * 0.1 + 5 * 0.101) / 2)


def test_a_paired_test_gets_a_value_a_seed(train):
    pruner = {"kind": "wilcoxon", "p_threshold": 0.4}
    _, reported, _ = train(seeds=[0, 1, 2], pruner=pruner)
    assert reported == {seed: pytest.approx(20 * (0.1 + 0.001 * seed)) for seed in (0, 1, 2)}


def test_a_pruned_trial_stops_its_process_and_trains_no_other_seed(train, monkeypatch):
    monkeypatch.setenv("FAKE_PAUSE", "0.05")
    ending, reported, folder = train(trial=Reports(prune_at=4), pruner={"kind": "halving"})
    assert ending.state == "pruned"
    assert "halving: iae 0.4 at iteration 4 of seed 1" in ending.reason
    assert max(reported) < 20
    run = folder.run("trial-0000", 0)
    assert not run.is_locked()
    assert run.read_status().status == "interrupted"
    assert run.read_status().reason.startswith("pruned: halving")
    assert not folder.run("trial-0000", 1).metrics_path.exists()


def test_the_last_report_is_not_asked_about(train):
    assert train(trial=Reports(prune_at=40))[0].state == "complete"


BOUNDS = {"collapse": {"nats": 0.1}, "explosion": {"nats": 0.8}}


@pytest.mark.parametrize(("bound", "ki", "beyond"), [("collapse", 0.75, 0.09), ("explosion", 0.65, 0.7)])
def test_collapse_and_explosion_stop_the_run(train, monkeypatch, bound, ki, beyond):
    monkeypatch.setenv("FAKE_PAUSE", "0.03")
    ending, _, folder = train({KP: 10.0, KI: ki}, constraints=BOUNDS)
    assert ending.state == "pruned"
    assert ending.reason.startswith(f"{bound}: entropy is {beyond:g} nats/token beyond the bound")
    assert ending.score.violations[bound] == pytest.approx(beyond)
    assert [name for name, value in ending.score.violations.items() if value > 0] == [bound]
    assert folder.run("trial-0000", 0).records()[-1].step < 19
    assert status(folder, 0).reason.startswith(f"pruned: {bound}")
    assert not folder.run("trial-0000", 1).metrics_path.exists()


@pytest.mark.parametrize(("bound", "ki"), [("collapse", 0.65), ("explosion", 0.75)])
def test_one_bound_does_not_look_to_the_other_side(train, bound, ki):
    ending, _, _ = train({KP: 10.0, KI: ki}, constraints={bound: BOUNDS[bound]})
    assert ending.state == "complete"
    assert ending.score.violations[bound] <= 0


def test_a_run_that_starts_beyond_a_bound_has_not_exploded(train):
    """0.3 is above 0.25, but a run may start there: only a rise counts."""
    constraints = {"explosion": {"nats": 0.25, "window": 1}}
    assert train({KP: 10.0, KI: 0.1}, constraints=constraints)[0].state == "complete"


def test_a_policy_that_diverged_is_a_bad_candidate(train):
    ending, _, _ = train({KP: 1.0, KI: 0.95})
    assert (ending.state, "TrainingDivergedError" in ending.reason) == ("pruned", True)


def test_a_run_that_died_fails_the_trial_with_its_reason(train):
    ending, _, folder = train({KP: 1.0, KI: 0.85})
    assert ending.state == "failed"
    assert "SIGKILL" in ending.reason
    assert status(folder, 0).status == "failed"
    assert not folder.run("trial-0000", 1).metrics_path.exists()


def test_a_trial_that_is_let_go_of_goes_on_where_it_was(train, monkeypatch, tmp_path):
    monkeypatch.setenv("FAKE_PAUSE", "0.2")
    has_begun = lambda: any(file.stat().st_size for file in tmp_path.rglob("metrics.jsonl"))  # noqa: E731
    ending, reported, folder = train(interrupted=lambda: "told to stop" if has_begun() else "")
    assert (ending.state, ending.reason) == ("stopped", "told to stop")
    before = len(folder.run("trial-0000", 0).records())
    assert 0 < before < 20
    monkeypatch.setenv("FAKE_PAUSE", "0")
    ending, again, _ = train()
    assert ending.state == "complete"
    assert sorted(again) == list(range(2, 41, 2))  # a new Optuna trial hears all of it
    assert {step: again[step] for step in reported} == reported


def test_runs_of_other_parameters_in_the_folder_are_not_taken_for_this_ones(train):
    train()
    ending, _, _ = train({KP: 1.0, KI: 0.1})
    assert ending.state == "failed"
    assert "holds a run of other parameters; delete" in ending.reason


def test_a_run_of_before_a_setting_came_goes_on(train):
    """A key that is new has a default that keeps what the run did without it."""
    _, _, folder = train(seeds=[0])
    run = folder.run("trial-0000", 0)
    stored = run.read_info()
    older = {**stored.config, "learner": {k: v for k, v in stored.config["learner"].items() if k != "betas"}}
    run.write_info(replace(stored, config=older, fingerprint="of another version"))
    ending, _, _ = train(seeds=[0])
    assert (ending.state, ending.reason) == ("complete", "")
    assert run.read_info().fingerprint == "of another version"


def test_a_bound_on_sensitivity_is_checked_before_anything_is_trained(train):
    changes = {"simulation": SIMULATION, "constraints": {"sensitivity": 1.8}}
    ending, reported, folder = train({KP: 0.01, KI: 1.0}, **changes)
    assert ending.state == "untrained"
    assert ending.score.violations["sensitivity"] > 0
    assert not reported
    assert not (folder.path / "trial-0000").exists()


def test_several_objectives_are_not_reported(train):
    ending, reported, _ = train(objective=["iae", "pass_at_1_area", "effort"])
    assert ending.score.values == (pytest.approx(2.01), pytest.approx(0.5), pytest.approx(1.9))
    assert not reported


def test_an_objective_that_the_runs_do_not_tell_fails_the_trial(train, monkeypatch):
    monkeypatch.setattr("orchestrator.tuning.trial.LiveRecord.record", _without_exams)
    ending, _, _ = train(objective="pass_at_1")
    assert (ending.state, ending.reason) == ("failed", "the runs do not tell pass_at_1")


def _without_exams(self, num_iterations=None):
    import numpy as np

    from orchestrator.tuning.criteria import SeedRecord

    return SeedRecord(reading=np.ones(3), r=np.ones(3), u=np.ones(3))
