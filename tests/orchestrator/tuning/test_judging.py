"""Stage one against one loop at a time, and against what is known of it."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from controllers.plants.simulation import simulate, simulate_many
from controllers.quality.quality import iae_nats
from orchestrator.report.study_terminal import sentences
from orchestrator.tuning.attempts import RANK
from orchestrator.tuning.judging import judge, search
from orchestrator.tuning.ranking import agreement, best_of_simulation, ranked_trials
from orchestrator.tuning.records import open_study
from orchestrator.tuning.space import distance, suggest
from tests.orchestrator.tuning.conftest import KI, KP, PLANT, SIMULATION


def test_a_candidate_is_judged_as_its_loop_alone_would_be(make_study):
    study = make_study(simulation=SIMULATION)
    params = [{KP: 0.5, KI: 0.05}, {KP: 3.0, KI: 0.3}]
    for candidate, found in zip(params, judge(study, params), strict=True):
        loop = study.simulated_loop(candidate).build()
        runs = [simulate(loop, study.start.plant, 20, seed=seed, initial_nats=0.5) for seed in (0, 1)]
        alone = [iae_nats([t.y for t in run], [t.r for t in run]) for run in runs]
        assert found.values[0] == pytest.approx(np.mean(alone), rel=1e-12)


@pytest.mark.parametrize("from_file", [True, False])
def test_a_candidate_and_its_plant_have_the_wait_of_the_arm(make_study, monkeypatch, from_file):
    seen = []

    def watched(loops, plant, *rest, **settings):
        seen.append(([loop.dead_time for loop in loops], plant.delay))
        return simulate_many(loops, plant, *rest, **settings)

    monkeypatch.setattr("orchestrator.tuning.judging.simulate_many", watched)
    campaign = {"learner.measure": "in_update"}
    if not from_file:
        campaign["arms.0.loops.entropy.plant"] = PLANT["plant"]
    simulation = {key: value for key, value in SIMULATION.items() if from_file or key != "plant"}
    study = make_study(simulation=simulation, in_campaign=campaign)
    judge(study, [{KP: 0.5, KI: 0.05}])
    assert seen == [([1], 2)]
    assert study.dead_time == 2


def test_the_wait_of_an_arm_counts_without_a_plant(make_study):
    assert make_study().dead_time == 1
    assert make_study(in_campaign={"learner.measure": "in_update"}).dead_time == 2


def test_a_filter_does_not_flatter_the_tracking_error(make_study):
    ema = {"kind": "ema", "decay": 0.9}
    campaign = {"arms.0.loops.entropy.filter": ema}
    study = make_study(simulation=SIMULATION, in_campaign=campaign)
    params = {KP: 0.5, KI: 0.05}
    loop = study.simulated_loop(params).build()
    filtered = [simulate(loop, study.start.plant, 20, seed=s, initial_nats=0.5) for s in (0, 1)]
    smooth = np.mean([iae_nats([t.y for t in run], [t.r for t in run]) for run in filtered])
    assert judge(study, [params])[0].values[0] != pytest.approx(smooth, rel=1e-3)


def test_the_search_is_the_same_every_time_and_better_than_its_middle(make_study):
    study = make_study(simulation=SIMULATION, constraints={"sensitivity": 2.0})
    one, other = search(study), search(study)
    assert [t.params for t in one.trials] == [t.params for t in other.trials]
    assert [t.values for t in one.trials] == [t.values for t in other.trials]
    assert len(one.trials) == 64
    best = ranked_trials(one, study.simulated_criteria)[0]
    assert best.constraints["sensitivity"] <= 0
    assert best.value < judge(study, [{KP: 0.3, KI: 0.03}])[0].values[0]


def test_an_unstable_loop_is_infeasible_and_never_the_best(make_study):
    study = make_study(simulation=SIMULATION, constraints={"sensitivity": 2.0})
    found = judge(study, [{KP: 0.01, KI: 1.0}])[0]  # integral action alone on an integrator
    assert found.violations["sensitivity"] > 0
    assert not found.is_feasible


def test_the_best_that_are_handed_on_differ(make_study):
    study = make_study(simulation={**SIMULATION, "enqueue": 5, "spread": 0.2})
    chosen = best_of_simulation(study, search(study))
    assert len(chosen) == 5
    for i, one in enumerate(chosen):
        for other in chosen[:i]:
            assert distance(one.params, other.params, study.config.space) >= 0.2
    assert [t.value for t in chosen] == sorted(t.value for t in chosen)


def test_what_violates_a_constraint_is_not_handed_on(make_study):
    """Apart from each other by half of the range, more of them than are feasible at that distance."""
    study = make_study(
        simulation={**SIMULATION, "enqueue": 8, "spread": 0.5}, constraints={"sensitivity": 1.3}
    )
    chosen = best_of_simulation(study, search(study))
    assert 0 < len(chosen) < 8
    assert all(trial.constraints["sensitivity"] <= 0 for trial in chosen)


class Trained:
    """A training trial as far as a comparison of rankings looks at it."""

    def __init__(self, number, predicted, value, *, enqueued=False, state="COMPLETE", reported=None):
        self.number = number
        self.values = [value]
        self.user_attrs = {"entrostat.predicted": [predicted]} | ({RANK: 1} if enqueued else {})
        self.state = type("State", (), {"name": state})
        self.intermediate_values = reported or {}


class Found:
    def __init__(self, *trials):
        self._trials = trials

    def get_trials(self, deepcopy=True):
        return list(self._trials)


def test_rank_correlation_knows_directions_and_leaves_out_what_did_not_end(make_study):
    study = make_study(simulation={**SIMULATION, "objective": "iae"}, objective="pass_at_4")
    trials = [Trained(i, predicted=float(i), value=1.0 - 0.1 * i, enqueued=i < 4) for i in range(6)]
    trials += [Trained(6, 9.0, 9.0, state="PRUNED"), Trained(7, None, 0.5)]
    found = agreement(study, Found(*trials))
    assert (found.every.num, found.every.kendall) == (6, pytest.approx(1.0))  # low error, high pass rate
    assert found.enqueued.num == 4
    assert "Kendall τ +1.00" in sentences(found)[0]
    assert len(sentences(found)) == 2


def test_too_few_trials_say_so(make_study):
    study = make_study(simulation=SIMULATION)
    said = sentences(agreement(study, Found(Trained(0, 1.0, 1.0))))
    assert "no rank correlation over 1 trial (it takes 4)" in said[0]


def test_what_was_pruned_counts_by_what_it_had_come_to_where_the_first_was(make_study):
    """Six trials in the order that was predicted at step 20; at step 40 the two that are left changed places."""
    study = make_study(simulation=SIMULATION)
    ended = [
        Trained(0, 1.0, 9.0, reported={20: 1.0, 40: 9.0}),
        Trained(1, 2.0, 8.0, reported={20: 2.0, 40: 8.0}),
    ]
    pruned = [
        Trained(2, 3.0, 3.0, state="PRUNED", reported={20: 3.0, 40: 3.5}),
        *(Trained(i, 1.0 + i, 0.0, state="PRUNED", reported={20: 1.0 + i}) for i in range(3, 6)),
        Trained(6, 0.0, 0.0, state="PRUNED"),  # its Ms was too high: it never trained
    ]
    found = agreement(study, Found(*ended, *pruned))
    assert found.first_pruned_at == 20
    assert (found.unpruned.num, found.unpruned.spearman) == (6, pytest.approx(1.0))
    assert found.every.num == 2
    assert "at step 20, where the first was pruned: Spearman ρ +1.00" in sentences(found)[-1]


def test_stage_two_does_not_draw_the_points_of_stage_one(make_study):
    study = make_study(simulation=SIMULATION, sampler={"kind": "random"})
    found = open_study(study, optuna.storages.InMemoryStorage())
    drawn = [suggest(found.ask(), study.config.space) for _ in range(8)]
    simulated = [trial.params for trial in search(study).get_trials(deepcopy=False)]
    assert not [params for params in drawn if params in simulated]
