"""Sentences about an arm change at values computed by hand."""

from __future__ import annotations

import pytest

from orchestrator.comparison import summarise
from orchestrator.report.headline import entropy_findings
from tests.orchestrator.report.small_campaigns import campaign_of, make_run


def sentence(**train):
    """The sentence of one run; its figures are of the first three, the last tenth and the last quarter of 40 iterations."""
    (arm,) = campaign_of(make_run("a", 0, train)).arms
    return entropy_findings([summarise(arm)])[0]


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (0.99, "`a` collapsed: its entropy fell from 2.000 to 0.990 nats per token (−50 %)."),
        (1.0, "`a` has no setpoint; its entropy went from 2.000 to 1.000 nats per token (−50 %)."),  # half
        (3.0, "`a` has no setpoint; its entropy went from 2.000 to 3.000 nats per token (+50 %)."),
        (3.02, "`a` has no setpoint; its entropy rose from 2.000 to 3.020 nats per token (+51 %)."),
    ],
)
def test_entropy_below_half_has_collapsed_and_above_one_and_a_half_it_rose(end, words):
    assert sentence(entropy=[2.0] * 20 + [end] * 20) == words


@pytest.mark.parametrize(
    ("y", "limited", "words"),
    [
        (0.5 * 1.09, 0, "`a` held its setpoint of 0.500 nats per token within 9.0 %"),
        (0.5 * 1.11, 0, "`a` did not hold its setpoint of 0.500 nats per token"),
        (0.5 * 1.11, 9, "; its command was at a limit in 22 % of the iterations."),
    ],
)
def test_a_setpoint_is_held_within_a_tenth_of_it(y, limited, words):
    y, flags = [y] * 40, [1.0] * limited + [0.0] * (40 - limited)
    loop = {"loop/h/y": y, "loop/h/r": [0.5] * 40, "loop/h/u": [0.0] * 40, "loop/h/saturated": flags}
    assert words in sentence(entropy=y, **loop)


def test_a_command_at_a_limit_for_a_fifth_of_the_time_is_no_news():
    flags = [1.0] * 8 + [0.0] * 32
    loop = {"loop/h/y": [0.9] * 40, "loop/h/r": [0.5] * 40, "loop/h/u": [0.0] * 40, "loop/h/saturated": flags}
    assert "limit" not in sentence(entropy=[0.9] * 40, **loop)


def test_a_setpoint_is_named_with_the_unit_of_its_sensor():
    """A loop that holds a share of groups holds no nats."""
    loop = {"loop/h/y": [0.3] * 40, "loop/h/r": [0.6] * 40, "loop/h/u": [0.0] * 40}
    config = {"loops": {"h": {"sensor": "teaching_groups"}}}
    readings = {"entropy": [0.2] * 40, "teaching_groups": [0.3] * 40}
    (arm,) = campaign_of(make_run("a", 0, readings | loop, config)).arms
    assert entropy_findings([summarise(arm)]) == [
        "`a` did not hold its setpoint of 0.600 for teaching_groups: over the last quarter of training it was off by 50 %."
    ]
