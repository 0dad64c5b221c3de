"""A mixture through the whole learner: domains by member, loops of their own, a phase that changes the mix."""

from __future__ import annotations

import pytest
import torch

from orchestrator.campaign import prepare
from orchestrator.configuration.checks import check_campaign
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError
from orchestrator.training import run as worker

pytestmark = pytest.mark.trains

EASY = {"task": {"kind": "arithmetic", "num_digits": 1}, "weight": 2, "name": "easy"}
HARD = {"task": {"kind": "arithmetic", "num_digits": [1, 2]}, "name": "hard"}
MIXED = {
    "task": {"kind": "mixture", "tasks": [EASY, HARD]},
    "phases": [{"start": 2, "task": {"tasks": [{**EASY, "weight": 1}, HARD]}}],
    "learner.iterations": 3,
    "learner.prompts_per_iteration": 6,
    "rollout.max_tokens": 12,
    "evaluation.every": 50,
    "evaluation.num_problems": 6,
}


def loop_on(domain):
    return {
        "domain": domain,
        "reference": {"kind": "constant", "value_nats": 0.5},
        "law": {"kind": "pid", "kp": 0.5, "ki": 0.05},
        "actuator": {"kind": "bonus"},
    }


def campaign(write_campaign, domains):
    loops = {f"loop{n}": loop_on(domain) for n, domain in enumerate(domains)}
    return read_campaign(write_campaign(MIXED | {"arms": [{"name": "arm", "loops": loops}]}))


def test_a_mixture_trains_with_a_loop_for_each_member(write_campaign):
    torch.set_num_threads(1)
    mixed = campaign(write_campaign, ["easy.add1", "hard.add1"])
    check_campaign(mixed)
    run = prepare(mixed).run("arm", 0)
    assert worker.main(str(run.path)) == worker.EXIT_DONE, run.read_status().reason
    evaluation, *_ = (record.metrics for record in run.records() if record.kind == "eval")
    assert "eval/domain/easy.add1/pass_at_1" in evaluation
    train = [record.metrics for record in run.records() if record.kind == "train"]
    for record in train:
        assert record["loop/loop0/y"] == record["entropy/domain/easy.add1"]
    assert any(
        "entropy/domain/hard.add2" in record or "entropy/domain/hard.add1" in record for record in train
    )


def test_a_loop_of_a_domain_that_no_member_has_is_refused(write_campaign):
    with pytest.raises(ConfigError, match=r"of the domain 'add1'; did you mean '\w+\.add1'\?"):
        check_campaign(campaign(write_campaign, ["add1"]))
