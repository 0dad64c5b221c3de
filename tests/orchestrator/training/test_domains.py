"""A loop for each domain of a mixed task, through the whole learner."""

from __future__ import annotations

import math

import pytest
import torch

from orchestrator.configuration.checks import check_campaign
from orchestrator.configuration.resolve import read_campaign
from tests.orchestrator.training.one_arm import same, trained

pytestmark = pytest.mark.trains

SHORT = {
    "learner.iterations": 4,
    "learner.epochs": 2,
    "learner.minibatches": 2,
    "learner.micro_batch_size": 3,
    "learner.prompts_per_iteration": 3,
    "evaluation.every": 50,
}
MIXED = {"task": {"kind": "arithmetic", "num_digits": 1, "operations": ["+", "-"]}}
PLUS_ALONE = [{"start": 0, "task": {"operations": ["+"]}}]


def pi_on(domain, actuator="bonus"):
    return {
        "domain": domain,
        "reference": {"kind": "constant", "value_nats": 1.0},
        "law": {"kind": "pid", "kp": 1.0, "ki": 0.1},
        "actuator": {"kind": actuator},
    }


@pytest.fixture
def run(write_campaign):
    """Run one arm in this process; give its training records and the final weights."""
    torch.set_num_threads(1)

    def run(name, loops, changes):
        arms = {"arms": [{"name": name, "loops": loops}], "tracking.folder": f"runs-{name}"}
        campaign = read_campaign(write_campaign(SHORT | changes | arms))
        check_campaign(campaign)
        return trained(campaign, name)

    return run


def test_two_domains_have_a_setpoint_and_a_command_each_and_may_come_and_go(run):
    """Three prompts an iteration: now and then one of the domains is not among them.

    One is to have nearly as much entropy as there is, the other nearly none: either is far away whatever is drawn.
    """
    high, low = ({"reference": {"kind": "constant", "value_nats": nats}} for nats in (2.8, 1e-6))
    loops = {"plus": pi_on("add1") | high, "minus": pi_on("sub1") | low}
    records, _ = run("mixed", loops, MIXED | {"learner.iterations": 10})
    told = {"plus": [], "minus": []}
    absences = 0
    for record in records:
        for loop, domain in (("plus", "add1"), ("minus", "sub1")):
            is_there = math.isfinite(record.get(f"entropy/domain/{domain}", math.nan))
            absences += not is_there
            assert record[f"loop/{loop}/held"] == float(not is_there)
            if is_there:
                assert record[f"loop/{loop}/y"] == record[f"entropy/domain/{domain}"]
                told[loop].append(record[f"loop/{loop}/u"])
            u = record[f"loop/{loop}/u"]
            recent = told[loop][-10:]  # held where it is absent, at the mean of what it last said
            assert u == pytest.approx(told[loop][-1] if is_there else sum(recent) / max(1, len(recent)))
            share = record.get(f"loss/bonus@{domain}", 0.0)
            assert (share != 0.0) == (is_there and u != 0.0)
        assert record["guard/skipped_steps"] == 0
    assert absences > 0, "or the test says nothing about a domain that vanishes"
    last = records[-1]
    assert last["loop/plus/r"] == 2.8
    assert last["loop/minus/r"] == 1e-6
    assert told["plus"][0] > 0 > told["minus"][0]


def test_a_loop_of_a_domain_does_nothing_until_that_domain_joins(run):
    phases = {"phases": [*PLUS_ALONE, {"start": 2}]}
    free, _ = run("free", {}, MIXED | phases)
    held, _ = run("held", {"minus": pi_on("sub1")}, MIXED | phases)
    for t in (0, 1):
        assert held[t]["loop/minus/held"] == 1.0
        assert {name: held[t][name] for name in measured(free[t])} == measured(free[t])
        assert "loss/bonus@sub1" not in held[t]
    joined = [t for t in (2, 3) if held[t]["loop/minus/held"] == 0.0]
    assert joined
    assert all(held[t]["loss/bonus@sub1"] != 0.0 for t in joined)
    assert held[joined[0]]["loss"] != free[joined[0]]["loss"]


@pytest.mark.parametrize("actuator", ["bonus", "sign_weights"])
def test_the_only_domain_of_a_task_is_bit_identical_to_no_domain(run, actuator):
    with_domain, weights = run(f"with-{actuator}", {"entropy": pi_on("add1", actuator)}, {})
    without, expected = run(f"without-{actuator}", {"entropy": pi_on(None, actuator)}, {})
    for record, plain in zip(with_domain, without, strict=True):
        named = {name.replace("@add1", ""): value for name, value in record.items()}
        assert measured(named) == measured(plain)
    # An iteration whose groups are all right or all wrong gives sign weights nothing to weigh.
    assert any(record[f"loss/{actuator}@add1"] != 0.0 for record in with_domain)
    assert same(weights, expected)


def measured(record):
    return {
        name: value
        for name, value in record.items()
        if not name.startswith(("seconds/", "rollout/tokens_per_second"))
    }
