"""Several sets of held-out problems, the best policy by one of them, and an early stop, through whole runs."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch

from orchestrator.campaign import campaign_folder, prepare, retry_stopped
from orchestrator.commands.run import prepare_campaign
from orchestrator.configuration.resolve import read_campaign
from orchestrator.continuing import Earlier
from orchestrator.storage.best_file import Best, read_best, write_best
from orchestrator.storage.guardrail_files import Event, append_event, read_events
from orchestrator.training import attempt, best_policy
from orchestrator.training import run as worker
from orchestrator.training.evaluation import Evaluator
from orchestrator.training.going_on import where_to_go_on
from orchestrator.training.rollback import take_up_again
from policies.model.loading import load_pretrained
from tests.orchestrator.training.test_resume import crash, results

pytestmark = pytest.mark.trains

OWN = {"every": 2, "num_problems": 4, "num_samples": 2, "pass_at": [2]}
MINUS = {
    "every": 3,
    "num_problems": 2,
    "num_samples": 2,
    "pass_at": [2],
    "task": {"kind": "arithmetic", "num_digits": 1, "operations": ["-"]},
}


@pytest.fixture
def make_run(write_campaign):
    torch.set_num_threads(1)

    def make(folder, **changes):
        changes = {
            "learner.iterations": 5,
            "task.operations": ["+", "-"],
            "evaluation": OWN,
            **changes,
            "tracking.folder": folder,
        }
        return prepare(read_campaign(write_campaign(changes))).run("grpo", 0)

    return make


def trained(run, status="done"):
    assert worker.main(str(run.path)) == worker.EXIT_DONE, run.read_status().reason
    assert run.read_status().status == status
    return run


def evaluations(run):
    return {record.step: record.metrics for record in run.records() if record.kind == "eval"}


def test_an_evaluation_says_how_far_it_is_over_all_its_sets(make_run, monkeypatch):
    told = []
    monkeypatch.setattr(attempt, "ActivityFile", lambda _: lambda activity: told.append(str(activity)))
    trained(make_run("told", evaluation={**OWN, "sets": {"minus": {**MINUS, "every": 2}}}))
    # 4 problems greedily and in 2 samples each, then 2 problems: 18 responses.
    shares = [f"{share:.0%}" for share in (12 / 18, 1)]
    first = told.index("evaluation 1/4")
    assert told[first + 1 : first + 4] == [*(f"evaluation 1/4 {share}" for share in shares), "iteration 0/5"]
    assert told[0] == "loading 1/1"


def test_each_set_has_its_pace_its_task_and_its_names(make_run):
    sets = {"minus": MINUS, "more": {**OWN, "every": 50, "num_problems": 6}}
    alone, several = (
        trained(make_run("alone")),
        trained(make_run("several", evaluation={**OWN, "sets": sets})),
    )
    found = evaluations(several)
    of_sets = {
        step: {name.split("/")[2] for name in found[step] if name.startswith("eval/set/")} for step in found
    }
    assert of_sets == {0: {"minus", "more"}, 2: set(), 3: {"minus"}, 4: set(), 5: {"minus", "more"}}
    domains = {name.split("/")[4] for name in found[3] if name.startswith("eval/set/minus/domain/")}
    assert domains == {"sub1"}
    assert {"eval/set/minus/pass_at_1", "eval/set/minus/pass_rate", "eval/set/minus/pass_at_2"} <= set(
        found[3]
    )
    assert "eval/pass_at_1" not in found[3]
    # What the run does otherwise is what it does without them.
    for step, metrics in evaluations(alone).items():
        assert {
            name: value for name, value in found[step].items() if not name.startswith("eval/set/")
        } == metrics
    trains = [[row for row in results(run) if row[1] == "train"] for run in (alone, several)]
    assert trains[0] == trains[1]


def made_up(values):
    """Evaluations that measure given values, by their steps."""
    return lambda evaluator, held_out, step: {
        "eval/pass_at_1": values.get(step, 0.0),
        "eval/pass_rate": 0.5,
    }


def test_the_best_policy_is_kept_said_and_loadable(make_run, monkeypatch, write_campaign):
    run = make_run("best", **{"evaluation.keep_best": "eval/pass_at_1"})
    monkeypatch.setattr(Evaluator, "examine", made_up({0: 0.25, 2: 0.75, 4: 0.75, 5: 0.5}))
    trained(run)
    assert read_best(run) == Best(metric="eval/pass_at_1", value=0.75, iteration=2)  # the first of equals
    (note,) = run.read_status().notes
    assert note.startswith(
        "the best policy by eval/pass_at_1, 0.75 after 2 iterations, is in the folder 'best'"
    )
    shorter = make_run("shorter", **{"learner.iterations": 2})
    trained(shorter)
    best, last = load_pretrained(str(run.best_path)), load_pretrained(str(run.policy_path))
    after_two = load_pretrained(str(shorter.policy_path))
    ids = torch.arange(4, 12)[None]
    assert torch.equal(best.model(ids).logits, after_two.model(ids).logits)
    assert not torch.equal(best.model(ids).logits, last.model(ids).logits)
    other = make_run("other", **{"policy.source": str(run.best_path), "learner.iterations": 1})
    trained(other)


def test_by_another_metric_the_search_for_the_best_begins_afresh(make_run, monkeypatch):
    monkeypatch.setattr(Evaluator, "examine", made_up({0: 0.75}))
    settings = {"learner.iterations": 1}
    trained(make_run("best", **settings, **{"evaluation.keep_best": "eval/pass_at_1"}))
    run = make_run("best", **settings, **{"evaluation.keep_best": "eval/pass_rate"})
    shutil.rmtree(run.checkpoint_path.parent)
    assert read_best(trained(run)) == Best(metric="eval/pass_rate", value=0.5, iteration=0)


def test_a_full_disk_costs_the_best_policy_and_not_the_run(make_run, monkeypatch, caplog):
    run = make_run("full", **{"evaluation.keep_best": "eval/pass_at_1"})
    monkeypatch.setattr(Evaluator, "examine", made_up({0: 0.25, 2: 0.75}))
    write = best_policy.write_best

    def failing(best, path):
        if best.iteration == 2:
            raise OSError("the disk is full")
        write(best, path)

    monkeypatch.setattr(best_policy, "write_best", failing)
    trained(run)
    assert read_best(run).iteration == 0
    assert "the best policy is not kept: the disk is full" in caplog.text


def test_a_run_that_goes_on_keeps_the_better_one(make_run, monkeypatch):
    """It is killed after iteration 3, goes on from the checkpoint after 2, and measures the best of all again."""
    run = make_run("killed", **{"evaluation.keep_best": "eval/pass_at_1"})
    monkeypatch.setattr(Evaluator, "examine", made_up({0: 0.25, 2: 0.75}))
    crash(run, monkeypatch)
    assert read_best(run).iteration == 2
    assert read_best(trained(run)) == Best(metric="eval/pass_at_1", value=0.75, iteration=2)


@pytest.fixture
def early(make_run, monkeypatch):
    """Runs that stop where two evaluations bring nothing: a gain at 4, then none, which is known at 8."""
    monkeypatch.setattr(Evaluator, "examine", made_up({0: 0.25, 2: 0.25, 4: 0.5, 6: 0.5, 8: 0.5}))
    plateau = {"patience": 2, "action": "stop"}
    settings = {"evaluation.keep_best": "eval/pass_at_1", "guardrails": {"plateau": plateau}}
    return lambda name, iterations: make_run(name, **{"learner.iterations": iterations}, **settings)


def test_a_run_whose_evaluations_stand_still_ends_early_and_keeps_what_was_evaluated(early):
    run = early("plateau", 12)
    for _ in range(2):  # as a process does that is killed before it has said so
        trained(run, status="stopped")
        assert list(evaluations(run)) == [0, 2, 4, 6, 8]
        (event,) = read_events(run.events_path)
        assert (event.detector, event.iteration, event.action) == ("plateau", 7, "stop")
        reason = run.read_status().reason
        assert "gain of the best evaluation was below 0.01 for 2 evaluations, last 0" in reason
        assert read_best(run).iteration == 4
        assert where_to_go_on(run).iteration == 8


def test_a_run_that_stopped_early_goes_on_from_its_save_when_that_is_asked_for(early, make_run):
    """It comes to what it would have come to had nothing stopped it, and may stop again three evaluations later."""
    straight = trained(make_run("straight", **{"learner.iterations": 14}))
    run = trained(early("retried", 16), status="stopped")
    ((_, rollback),) = retry_stopped([run])
    assert (rollback.to, rollback.requested, rollback.redraws) == (8, True, False)
    trained(run, status="stopped")
    assert [(event.iteration, event.attempt) for event in read_events(run.events_path)] == [(7, 0), (13, 1)]
    found, expected = (
        [
            (step, kind, {name: value for name, value in metrics.items() if not name.startswith("guard/")})
            for step, kind, metrics in results(each)
        ]
        for each in (run, straight)
    )
    assert found == expected

    # What another detector stops later has failed, and goes back as ever: the save is of the early stop.
    later = Event(iteration=14, detector="collapse", action="stop", reason="it fell", attempt=2)
    append_event(run.events_path, later)
    assert take_up_again(run).to < 14


def test_the_evaluation_after_the_last_iteration_stops_nothing(early):
    run = trained(early("finished", 8))
    assert [event.iteration for event in read_events(run.events_path)] == [7]
    assert run.policy_path.is_dir()
    assert where_to_go_on(run).iteration == 8


def test_a_run_that_goes_on_from_another_has_its_best_policy_and_may_stop_again(early, tmp_path):
    source = trained(early("source", 12), status="stopped")

    def go_on(name, *changes):
        settings = [f"name={name}", "learner.iterations=16", *changes]
        path = tmp_path / "campaign.yaml"
        prepare_campaign(path, settings, earlier=Earlier(run=source, arm="grpo", seed=0))
        return campaign_folder(read_campaign(path, settings)).run("grpo", 0)

    best = read_best(source)
    weights = (source.best_path / "model.safetensors").read_bytes()
    assert read_best(go_on("other", "evaluation.keep_best=eval/pass_rate")) is None
    longer = go_on("longer")
    assert read_best(longer) == best
    assert (longer.best_path / "model.safetensors").read_bytes() == weights
    trained(longer, status="stopped")  # its detector begins afresh, and trips after three more evaluations
    assert [*evaluations(longer)] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert read_best(longer) == best  # none of those after it was better
    write_best(replace(best, iteration=9), source.best_path)
    assert read_best(go_on("earlier")) is None  # it is of later than what the run goes on from
