"""The meaning and the bounds of a key are read off the class that holds it."""

from __future__ import annotations

import pytest

from controllers.guardrails.collapse import Collapse
from controllers.guardrails.explosion import Explosion
from controllers.laws.increment import Increment
from controllers.laws.pid import PID
from controllers.parts.dither import PRBS
from controllers.parts.filters import Hold
from orchestrator.configuration.descriptions import bounds, meanings
from orchestrator.configuration.execution import ExecutionConfig
from orchestrator.configuration.learner import LearnerConfig
from policies.advantages import Quantile
from policies.model.tiny import TinyModel
from tasks.kinds.arithmetic import Arithmetic
from tasks.kinds.countdown import Countdown


@pytest.mark.parametrize(
    ("owner", "key", "begins"),
    [
        (PID, "kp", "Proportional gain [command per unit of error]"),
        (Collapse, "patience", "Readings in a row [iterations]"),
        (LearnerConfig, "group_size", "Responses sampled for each prompt;"),
        (ExecutionConfig, "retries", "Times in a row"),
    ],
)
def test_the_meaning_is_the_docstring_below_the_field_on_one_line(owner, key, begins):
    assert meanings(owner)[key].startswith(begins)
    assert "\n" not in "".join(meanings(owner).values())


def test_what_is_no_setting_has_no_meaning():
    assert "step" not in meanings(PID)
    assert meanings(Hold) == {}


@pytest.mark.parametrize(
    ("part", "key", "rule"),
    [
        (PID, "kp", "be >= 0 and finite"),
        (PID, "anti_windup", "be in [0, 1]"),
        (Collapse, "threshold", "be > 0 and < 1"),  # by a helper that all detectors share
        (Explosion, "threshold", "be > 1"),
        (Increment, "high", "be >= low and finite"),  # the bound is another setting, not its example
        (Increment, "initial", "be in [low, high]"),
        (PRBS, "seed", "be in [1, 2^bits - 1]"),
        (Quantile, "quantile", "be in (0, 1)"),
        (TinyModel, "head_dim", "be 32 or 64"),
        (Arithmetic, "num_digits", "be between 1 and 6"),
        (Countdown, "min_target", "be between 1 and max_target"),
    ],
)
def test_bounds_are_what_the_guard_says_to_a_value_outside_them(part, key, rule):
    assert bounds(part)[key] == rule


def test_a_setting_that_takes_every_number_has_no_bounds():
    assert bounds(Hold) == {}
    assert "bumpless" not in bounds(PID)
