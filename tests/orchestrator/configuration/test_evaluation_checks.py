"""Sets of held-out problems are checked, and what goes by an evaluation has to name one of its metrics."""

from __future__ import annotations

import pytest

from orchestrator.configuration.checks import arm_problems
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError

MINUS = {"kind": "arithmetic", "num_digits": 1, "operations": ["-"]}
SET = {"num_problems": 2, "num_samples": 2, "pass_at": []}


@pytest.fixture
def faults(write_campaign):
    """What is wrong with the plain arm of a campaign with these changes."""

    def found(**changes):
        return list(arm_problems(read_campaign(write_campaign(changes)).arms[0]))

    return found


def with_set(**changes):
    return {"task.operations": ["+", "-"], "evaluation.sets": {"minus": SET | {"task": MINUS} | changes}}


def test_a_set_of_another_task_and_one_of_the_run_s_own(faults):
    assert faults(**with_set()) == []
    assert faults(**with_set(task=None)) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (with_set(num_problems=50), "evaluation.sets.minus.num_problems: must be at most 2, got 50"),
        (
            with_set() | {"task.operations": ["+"]},
            "evaluation.sets.minus.task: has the characters '-', which the run's",
        ),
        (
            with_set(task={"kind": "number_guessing"}),
            "evaluation.sets.minus.task: must be multi-turn as the run's own is",
        ),
        (
            with_set(task=MINUS | {"num_digits": 6}, num_problems=3) | {"policy.architecture.max_tokens": 20},
            "evaluation.sets.minus.task: must have prompts of at most 12 tokens",
        ),
        (with_set() | {"learner.devices": 3}, "raise evaluation.sets.minus.num_problems"),
        (
            {"evaluation.sets": {"Minus": SET, "minus": SET}},
            "evaluation.sets.minus: differs from the set 'Minus' by case alone",
        ),
    ],
)
def test_sets_that_cannot_be_examined(faults, changes, message):
    assert any(message in fault for fault in faults(**changes)), faults(**changes)


def test_a_set_that_the_run_trains_on(faults, tmp_path):
    """Files of problems are held out as they say, so one file may hold out what another trains on."""
    lines = [f'{{"prompt": "{n}+1=", "answer": "{n + 1}"}}\n' for n in range(8)]
    for name in ("train", "test", "other"):
        (tmp_path / f"{name}.jsonl").write_text("".join(lines[4:6] if name == "test" else lines[:4]))
    files = {
        "kind": "jsonl",
        "path": str(tmp_path / "train.jsonl"),
        "held_out_path": str(tmp_path / "test.jsonl"),
    }
    other = {
        "kind": "jsonl",
        "path": str(tmp_path / "test.jsonl"),
        "held_out_path": str(tmp_path / "other.jsonl"),
    }
    run = {"task": files, "policy.warm_start.num_steps": 0, "evaluation.num_problems": 2}
    assert faults(**run, **{"evaluation.sets": {"same": SET}}) == []
    (fault,) = faults(**run, **{"evaluation.sets": {"other": SET | {"task": other}}})
    assert fault.startswith("evaluation.sets.other.task: must not hold out what the run trains on, got '")


@pytest.mark.parametrize(
    ("metric", "is_known"),
    [
        ("eval/pass_at_1", True),
        ("eval/pass_at_4", True),
        ("eval/set/minus/pass_rate", True),
        ("eval/pass_at_8", False),
        ("eval/set/plus/pass_rate", False),
        ("reward", False),
    ],
)
def test_metrics_that_a_best_policy_and_a_plateau_go_by(faults, metric, is_known):
    best = faults(**with_set(), **{"evaluation.keep_best": metric})
    plateau = faults(**with_set(), **{"evaluation.keep_best": None, "guardrails.plateau": {"metric": metric}})
    for key, found in (("evaluation.keep_best", best), ("guardrails.plateau.metric", plateau)):
        start = f"{key}: must be a metric of the run's evaluations, got {metric!r}; "
        assert [fault.startswith(start) for fault in found] == ([] if is_known else [True])


def test_bounds_of_a_set_are_those_of_the_evaluation(write_campaign):
    path = write_campaign({"evaluation.sets": {"minus": SET | {"pass_at": [4]}}})
    with pytest.raises(
        ConfigError, match=r"evaluation\.sets\.minus: num_samples must be at least the largest k"
    ):
        read_campaign(path)
