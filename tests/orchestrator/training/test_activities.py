"""What a run says it is at while it trains, in the order in which it says it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from orchestrator.configuration.evaluation import EvaluationConfig
from orchestrator.configuration.models import RunConfig
from orchestrator.storage.activity import Activity, ActivityFile, read_activity
from orchestrator.training.activities import Activities


@pytest.fixture
def told():
    return []


def trained(told, num_iterations, every, begin=0, **paces):
    """What is told by a run that goes on from iteration ``begin``; each text as a terminal shows it."""
    sets = {name: {"every": pace} for name, pace in paces.items()}
    evaluation = EvaluationConfig(every=every, sets=sets)
    config = RunConfig(
        task={"kind": "arithmetic"}, learner={"iterations": num_iterations}, evaluation=evaluation
    )
    module = SimpleNamespace(iteration=begin)
    callback = Activities(config, lambda activity: told.append(str(activity)))
    callback.on_train_start(None, module)
    while module.iteration < num_iterations:
        callback.on_train_batch_start(None, module)
        module.iteration += 1
        callback.on_train_batch_end(None, module)
    callback.on_train_end(None, module)
    return told


def test_evaluations_are_counted_with_the_first_and_the_last(told):
    assert trained(told, num_iterations=3, every=2) == [
        "evaluation 1/3", "iteration 0/3", "iteration 1/3", "evaluation 2/3", "iteration 2/3", "evaluation 3/3",
        "saving",
    ]  # fmt: skip


def test_evaluations_of_every_set_count_and_those_of_one_iteration_once(told):
    said = trained(told, num_iterations=5, every=4, minus=2, more=50)
    assert [each for each in said if "evaluation" in each] == [f"evaluation {k}/4" for k in (1, 2, 3, 4)]
    assert said[3] == "evaluation 2/4"  # after two iterations, of the one set alone


def test_a_run_that_goes_on_holds_no_first_evaluation_again(told):
    assert trained(told, num_iterations=4, every=4, begin=3) == ["iteration 3/4", "evaluation 2/2", "saving"]


def test_an_evaluation_says_how_much_of_it_is_done(told):
    config = RunConfig(task={"kind": "arithmetic"}, learner={"iterations": 4}, evaluation={"every": 2})
    callback = Activities(config, lambda activity: told.append(str(activity)))
    callback.on_train_start(None, SimpleNamespace(iteration=0))
    callback.evaluate(0.254)
    callback.on_train_batch_end(None, SimpleNamespace(iteration=2))
    callback.evaluate(1.0)
    assert told == ["evaluation 1/3", "evaluation 1/3 25%", "evaluation 2/3", "evaluation 2/3 100%"]


def test_a_new_activity_is_written_at_once_and_its_count_now_and_then(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("orchestrator.storage.activity.time.monotonic", lambda: now[0])
    tell = ActivityFile(tmp_path)
    tell(Activity(name="loading"))
    tell(Activity(name="warm start", done=1, total=9))
    tell(Activity(name="warm start", done=2, total=9))
    assert read_activity(tmp_path) == Activity(name="warm start", done=1, total=9)
    now[0] += 1.0
    tell(Activity(name="warm start", done=3, total=9))
    assert str(read_activity(tmp_path)) == "warm start 3/9"


@pytest.mark.parametrize("content", [None, "", "[]", '{"name": "x", "more": 1}'])
def test_what_cannot_be_read_is_no_activity(tmp_path, content):
    if content is not None:
        (tmp_path / "activity.json").write_text(content)
    assert read_activity(tmp_path) is None


def test_a_folder_that_cannot_be_written_to_costs_nothing(tmp_path):
    ActivityFile(tmp_path / "gone")(Activity(name="loading"))
    assert read_activity(tmp_path / "gone") is None
