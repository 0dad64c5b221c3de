"""The search space: order, conditions, what has to be valid for all of it to be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator.tuning.models import Dimension
from orchestrator.tuning.space import centre, corners, distance, in_order, labels, overlay, suggest

KIND = "law.kind"
SPACE = {
    "law.kp": Dimension(low=0.01, high=1.0, log=True, when={KIND: "pid"}),
    "law.rate": Dimension(low=1.0, high=3.0, when={KIND: ("dual", "other")}),
    KIND: Dimension(choices=("pid", "dual", "other")),
    "period": Dimension(low=1, high=4, integer=True),
}


class Answers:
    """A trial that answers with given values and remembers what it was asked."""

    def __init__(self, **values):
        self.values = values
        self.asked = []

    def _answer(self, name, *bounds, **settings):
        self.asked.append((name, *bounds, settings))
        return self.values.get(name.replace(".", "_"), bounds[0])

    suggest_float = suggest_int = _answer

    def suggest_categorical(self, name, choices):
        self.asked.append((name, choices))
        return self.values.get(name.replace(".", "_"), choices[0])


def test_a_parameter_comes_after_those_that_its_conditions_name():
    assert list(in_order(SPACE)) == [KIND, "period", "law.kp", "law.rate"]


def test_only_parameters_whose_conditions_hold_are_asked_for():
    space = in_order(SPACE)
    assert suggest(Answers(law_kind="pid"), space) == {KIND: "pid", "period": 1, "law.kp": 0.01}
    assert suggest(Answers(law_kind="other"), space) == {KIND: "other", "period": 1, "law.rate": 1.0}


def test_bounds_and_scale_are_handed_on():
    trial = Answers(law_kind="pid")
    suggest(trial, in_order(SPACE))
    assert ("law.kp", 0.01, 1.0, {"step": None, "log": True}) in trial.asked
    assert ("period", 1, 4, {"step": 1, "log": False}) in trial.asked


@pytest.mark.parametrize(
    ("when", "says"),
    [
        (
            {"law.kid": "pid"},
            "law.kp.when.law.kid: names no parameter with choices; did you mean 'law.kind'?",
        ),
        ({"period": 1}, "law.kp.when.period: names no parameter with choices"),
        ({KIND: "pdi"}, "'pdi' is none of its choices ('pid', 'dual', 'other')"),
    ],
)
def test_conditions_that_cannot_hold_are_refused(when, says):
    with pytest.raises(ValueError) as caught:
        in_order(SPACE | {"law.kp": Dimension(low=0, high=1, when=when)})
    assert says in str(caught.value)


def test_conditions_in_a_circle_are_refused():
    a = Dimension(choices=(1, 2), when={"b": 1})
    b = Dimension(choices=(1, 2), when={"a": 1})
    with pytest.raises(ValueError, match="circle"):
        in_order({"a": a, "b": b})


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "either low and high, or choices"),
        ({"low": 1}, "either low and high, or choices"),
        ({"low": 5, "high": 0.1}, "low must be below high, got low 5 and high 0.1; swap them"),
        ({"low": 0, "high": 1, "log": True}, "low must be > 0 on a logarithmic scale, got 0"),
        ({"low": 1, "high": 2, "log": True, "step": 0.1}, "exclude each other"),
        ({"low": 0, "high": 1, "step": 2}, "at most high - low = 1"),
        ({"low": 0.5, "high": 3, "integer": True}, "must be whole"),
        ({"choices": []}, "one value or several that differ"),
        ({"choices": [1, 1]}, "one value or several that differ"),
        ({"choices": [1], "low": 0}, "choices stand alone"),
    ],
)
def test_a_dimension_that_makes_no_sense_is_refused(settings, says):
    with pytest.raises(ValidationError) as caught:
        Dimension(**settings)
    assert says in str(caught.value)


def test_true_and_one_are_different_choices():
    assert Dimension(choices=[True, 1, "1", None]).choices == (True, 1, "1", None)


def test_overlay():
    assert overlay({"a.b": 1, "a.c.d": 2, "e": 3}, {}) == {"a": {"b": 1, "c": {"d": 2}}, "e": 3}


def test_a_number_is_a_place_in_a_list_that_is_there():
    base = {"a": {"limits": [0.0, 1.0], "parts": [{"x": 1, "y": 2}, {"z": [5, 6]}]}}
    assert overlay({"a.limits.1": 0.5}, base) == {"a": {"limits": [0.0, 0.5]}}
    assert overlay({"a.limits.0": 0.1, "a.limits.1": 0.5, "a.b": 1}, base)["a"] == {
        "limits": [0.1, 0.5],
        "b": 1,
    }
    changed = overlay({"a.parts.0.y": 3, "a.parts.1.z.0": 4}, base)
    assert changed == {"a": {"parts": [{"x": 1, "y": 3}, {"z": [4, 6]}]}}
    assert base == {"a": {"limits": [0.0, 1.0], "parts": [{"x": 1, "y": 2}, {"z": [5, 6]}]}}
    assert overlay({"a.1": 2}, {"a": {"0": 1}}) == {"a": {"1": 2}}  # a mapping's key may look like a number


def test_corners_have_every_choice_and_both_ends():
    found = list(corners(in_order(SPACE)))
    kinds = {params[KIND] for _, params in found}
    assert kinds == {"pid", "dual", "other"}
    assert {params["law.kp"] for path, params in found if path == "law.kp"} == {0.01, 1.0}
    assert {params["law.rate"] for path, params in found if path == "law.rate"} == {1.0, 3.0}
    assert {params["period"] for path, params in found if path == "period"} == {1, 4}
    assert all(("law.kp" in params) == (params[KIND] == "pid") for _, params in found)


@given(low=st.floats(1e-3, 10), width=st.floats(1.01, 100), log=st.booleans(), share=st.floats(0, 1))
def test_the_centre_is_inside_and_half_way(low, width, log, share):
    dimension = Dimension(low=low, high=low * width, log=log)
    middle = centre(dimension)
    assert low <= middle <= low * width
    ends = ({"x": low}, {"x": low * width})
    near, far = (distance({"x": middle}, end, {"x": dimension}) for end in ends)
    assert near == pytest.approx(far, abs=1e-6)
    assert near == pytest.approx(0.5, abs=1e-6)


def test_distance_is_the_largest_share_of_a_range():
    space = in_order(SPACE)
    one, other = {"law.kp": 0.01, "period": 1}, {"law.kp": 0.1, "period": 4}
    assert distance(one, {**one, "law.kp": 0.1}, space) == pytest.approx(0.5)  # one of two decades
    assert distance(one, other, space) == 1.0
    assert distance({KIND: "pid"}, {KIND: "dual"}, space) == 1.0
    assert distance({"period": 1}, {"law.kp": 1}, space) == 1.0


def test_labels_are_as_long_as_they_must_be():
    assert labels(["loops.a.law.kp", "loops.a.law.ki"]) == {"loops.a.law.kp": "kp", "loops.a.law.ki": "ki"}
    assert labels(["loops.a.law.kp", "loops.b.law.kp", "learner.learning_rate"]) == {
        "loops.a.law.kp": "a.law.kp",
        "loops.b.law.kp": "b.law.kp",
        "learner.learning_rate": "learning_rate",
    }
    assert labels(["loops.a.limits.1", "loops.a.law.kp"])["loops.a.limits.1"] == "limits.1"


def test_code_of_a_choice_needs_an_absolute_path():
    law = "loops.main.law.kind"
    with pytest.raises(
        ValueError, match=r"law.kind.choices: code must have an absolute path.*'parts.py:A'; write"
    ):
        in_order({law: Dimension(choices=("pid", "parts.py:A"))})
    assert in_order({law: Dimension(choices=("pid", "/mine/parts.py:A", "package.module.A"))})
