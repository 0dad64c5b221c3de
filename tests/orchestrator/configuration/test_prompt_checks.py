"""Domains, phases and signals that a campaign names: resolved, or refused with path, rule, value, remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from controllers.laws.open_loop import OpenLoop
from orchestrator.configuration import prompt_checks
from orchestrator.configuration.checks import check_campaign
from orchestrator.configuration.loops import LoopConfig
from orchestrator.configuration.resolve import read_campaign
from orchestrator.configuration.signals import is_signal
from orchestrator.errors import ConfigError
from tasks.splits import held_out_set

MIXED = {"task": {"kind": "arithmetic", "num_digits": 1, "operations": ["+", "-"]}}
FIXED = {"law": {"kind": "open_loop", "value": 0.0}}
BONUS = {"actuator": {"kind": "bonus"}} | FIXED


def loops(**by_name):
    return {"arms": [{"name": "arm", "loops": by_name}]}


def refusal(path) -> str:
    with pytest.raises(ConfigError) as refused:
        check_campaign(read_campaign(path))
    return str(refused.value)


def accepted(path):
    campaign = read_campaign(path)
    check_campaign(campaign)
    return campaign.arms[0]


# Domains ----------------------------------------------------------------------------------------------


def test_a_domain_brings_its_sensor_and_the_name_of_its_command():
    loop = LoopConfig(domain="add2", **BONUS)
    assert loop.sensor == "entropy/domain/add2"
    assert loop.build().actuator == "bonus@add2"
    assert LoopConfig(domain="add2", sensor="entropy", **BONUS) == loop  # the default, said aloud
    assert LoopConfig(domain="add2", sensor="pass_rate", **BONUS).sensor == "pass_rate"
    plain = LoopConfig(**BONUS)
    assert (plain.sensor, plain.build().actuator) == ("entropy", "bonus")


def test_a_domain_laid_over_a_preset_reads_back_the_same(write_campaign):
    arm = {"name": "arm", "method": "entropic", "loops": {"entropy": {"domain": "sub1"}}}
    arm = accepted(write_campaign(MIXED | {"arms": [arm]}))
    loop = arm.config.loops["entropy"]
    assert (loop.domain, loop.sensor) == ("sub1", "entropy/domain/sub1")
    assert type(arm.config)(**arm.plain) == arm.config


def test_loops_of_different_domains_share_a_kind(write_campaign):
    both = loops(plus=BONUS | {"domain": "add1"}, minus=BONUS | {"domain": "sub1"})
    accepted(write_campaign(MIXED | both))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("add1", "add1", "loops.b.actuator: 'bonus@add1' is already moved by the loop 'a'; remove one"),
        (
            None,
            "add1",
            "loops.b.actuator: 'bonus' is moved by the loop 'a' too, and without a domain the loop 'a'",
        ),
        (
            "add1",
            None,
            "loops.b.actuator: 'bonus' is moved by the loop 'a' too, and without a domain the loop 'b'",
        ),
    ],
)
def test_two_owners_of_a_token_are_refused(write_campaign, first, second, expected):
    both = loops(a=BONUS | {"domain": first}, b=BONUS | {"domain": second})
    assert expected in refusal(write_campaign(MIXED | both))


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("temperature", 1.0, "a rollout has one temperature for all its responses"),
        ("clip_range", 0.0, "the objective has one pair of bounds for all its tokens"),
    ],
)
def test_an_actuator_of_the_whole_batch_takes_no_domain(write_campaign, kind, value, reason):
    loop = {"domain": "add1", "law": {"kind": "open_loop", "value": value}, "actuator": {"kind": kind}}
    path = write_campaign(MIXED | loops(entropy=loop) | {"learner.epochs": 2})
    assert (
        f"arms.arm.loops.entropy.domain: {kind!r} acts on all tokens, {reason}; take another actuator, or "
        "remove the domain and read 'entropy/domain/add1' as the sensor"
    ) in refusal(path)


@pytest.mark.parametrize(
    ("loop", "key"),
    [
        ({"domain": "ad1"}, "domain"),
        ({"sensor": "entropy/domain/ad1"}, "sensor"),
        ({"domain": "sub1", "sensor": "entropy/domain/ad1"}, "sensor"),
    ],
)
def test_a_domain_that_no_training_prompt_has_is_refused_once(write_campaign, loop, key):
    message = refusal(write_campaign(MIXED | loops(entropy=BONUS | loop)))
    assert message.count("\n") == 0
    assert message.endswith(
        f"arms.arm.loops.entropy.{key}: none of the first 1024 training problems is of the domain 'ad1'; "
        "did you mean 'add1'? known: add1, sub1"
    )


def test_a_domain_of_a_later_phase_is_known_and_one_that_no_phase_trains_is_not(write_campaign):
    alone = {"start": 0, "task": {"operations": ["+"]}}
    loop = loops(minus=BONUS | {"domain": "sub1"})
    accepted(write_campaign(MIXED | loop | {"phases": [alone, {"start": 5}]}))
    assert "domain 'sub1'; known: add1" in refusal(write_campaign(MIXED | loop | {"phases": [alone]}))


# Signals ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Curious(OpenLoop):
    """A law that reads more than the measurement."""

    kind: ClassVar[str] = "open_loop"
    wanted: str = "learning_rate"

    @property
    def reads(self):
        return (self.wanted,)


def with_law(write_campaign, law):
    campaign = read_campaign(write_campaign(MIXED | loops(entropy=BONUS)))
    (arm,) = campaign.arms
    loop = arm.config.loops["entropy"].model_copy(update={"law": law})
    config = arm.config.model_copy(update={"loops": {"entropy": loop}})
    return type(campaign)(
        path=campaign.path,
        config=campaign.config,
        arms=(type(arm)(name=arm.name, method=arm.method, config=config),),
    )


@pytest.mark.parametrize("wanted", ["learning_rate", "covariance", "entropy/domain/sub1"])
def test_a_law_may_read_any_signal(write_campaign, wanted):
    check_campaign(with_law(write_campaign, Curious(value=0.0, wanted=wanted)))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("learning_rat", "law: unknown signal 'learning_rat'; did you mean 'learning_rate'?"),
        ("entropy/domain/sub9", "law: none of the first 1024 training problems is of the domain 'sub9'"),
        ("entropy/filtered", "law: 'entropy/filtered' needs an actuator that reads a part of the vocabulary"),
    ],
)
def test_a_law_that_would_wait_for_ever_is_refused(write_campaign, wanted, expected):
    with pytest.raises(ConfigError) as refused:
        check_campaign(with_law(write_campaign, Curious(value=0.0, wanted=wanted)))
    assert f"loops.entropy.{expected}" in str(refused.value)


def test_what_is_a_signal():
    assert all(map(is_signal, ("entropy", "learning_rate", "entropy/domain/x")))
    assert not any(map(is_signal, ("loss", "entropy/domain/", "loop/entropy/u")))


# Phases -----------------------------------------------------------------------------------------------


def test_a_phase_changes_the_run_s_own_task_and_not_the_phase_before(write_campaign):
    phases = [{"start": 1, "task": {"num_digits": 2}}, {"start": 3, "learning_rate_factor": 0.5}]
    arm = accepted(write_campaign(MIXED | {"phases": phases, "rollout.max_tokens": 16}))
    config = arm.config
    assert [config.task_at(t).num_digits for t in range(5)] == [1, 2, 2, 1, 1]
    assert config.task_at(1).operations == ("+", "-")
    assert [phase.learning_rate_factor for phase in config.phases] == [1.0, 0.5]
    assert type(config)(**arm.plain) == config


def test_phases_of_an_arm_replace_the_campaign_s_and_count_in_the_fingerprint(write_campaign):
    doubled = [{"start": 2, "learning_rate_factor": 2.0}]
    arms = [{"name": "a"}, {"name": "b", "phases": []}, {"name": "c", "phases": [{"start": 3}]}]
    campaign = read_campaign(write_campaign({"phases": doubled, "arms": arms}))
    assert [[phase.start for phase in arm.config.phases] for arm in campaign.arms] == [[2], [], [3]]
    assert len({arm.fingerprint for arm in campaign.arms}) == 3


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        (
            [{"start": 3}, {"start": 3}],
            "phases.1.start: must be above 3, the start of the phase before it, got 3; put the phases",
        ),
        ([{"start": 6}], "phases.0.start: must be below learner.iterations (6), got 6; lower it"),
        ([{"start": -1}], "phases.0.start: input should be greater than or equal to 0, got -1"),
        ([{"strat": 1, "start": 2}], "phases.0.strat: unknown key; did you mean 'start'?"),
        ([{}], "phases.0.start: is missing; add it"),
        (
            [{"start": 1}, {"start": 2, "learning_rate_factor": 0.0}],
            "phases.1.learning_rate_factor: input should be greater than 0, got 0.0",
        ),
        (
            [{"start": 1}, {"start": 2, "task": {"num_digits": 9}}],
            "phases.1.task: num_digits must be between 1 and 6, got 9",
        ),
        (
            [{"start": 1, "task": {"digits": 9}}],
            "phases.0.task.digits: unknown key; did you mean 'num_digits'?",
        ),
        ([{"start": 1, "task": "hard"}], "phases.0.task: input should be a valid dictionary"),
        (
            [{"start": 1, "task": {"kind": "countdown"}}],
            "phases.0.task: must be of the run's kind, 'arithmetic', got 'countdown'",
        ),
        (
            [{"start": 1, "task": {"operations": ["*"]}}],
            "phases.0.task: has the characters '*', which the run's task, and so the policy, lacks; add their",
        ),
        (
            [{"start": 1, "task": {"num_digits": 6}}],
            "phases.0.task: must have prompts of at most 12 tokens, or policy.architecture.max_tokens (20)",
        ),
    ],
)
def test_bad_phases(write_campaign, phases, expected):
    small = {"policy.architecture.max_tokens": 20}
    message = refusal(write_campaign(MIXED | small | {"phases": phases, "arms": [{"name": "arm"}]}))
    assert f"arms.arm.{expected}" in message


@pytest.mark.parametrize(("scorer", "alike"), [("exact", True), ("verifier", False)])
def test_problems_of_a_phase_must_be_ones_that_the_run_s_task_can_grade(write_campaign, scorer, alike):
    """reasoning-gym's verifiers look into the dataset, and the graders have that of the run's own task."""
    task = {"kind": "reasoning_gym", "dataset": "chain_sum", "scorer": scorer}
    longer = [{"start": 1, "task": {"config": {"min_terms": 5, "max_terms": 5}}}]
    room = {"policy.architecture.max_tokens": 512}
    path = write_campaign({"task": task, "phases": longer, "arms": [{"name": "arm"}]} | room)
    if alike:
        accepted(path)
    else:
        assert "arms.arm.phases.0.task: its problems are not graded alike by the run's own task" in refusal(
            path
        )


# Mixtures ---------------------------------------------------------------------------------------------


def two_of(tmp_path, second):
    """The same forty sums twice, a tenth of them held out; the second member has other settings or another file."""
    rows = [f'{{"prompt": "{n}+1=", "answer": "{n + 1}"}}' for n in range(40)]
    (tmp_path / "sums.jsonl").write_text("\n".join(rows))
    (tmp_path / "held_out.jsonl").write_text(rows[39])
    files = [{"kind": "jsonl", "path": str(tmp_path / "sums.jsonl")} | more for more in ({}, second)]
    members = [{"task": task, "name": name} for task, name in zip(files, ("one", "two"), strict=True)]
    return {"task": {"kind": "mixture", "tasks": members}, "evaluation.num_problems": 2}


def test_a_prompt_is_not_held_out_of_one_member_and_trained_on_in_another(write_campaign, tmp_path):
    changes = two_of(tmp_path, {"held_out_path": str(tmp_path / "held_out.jsonl")})
    assert (
        "task.tasks: must not train on held-out problems, but '39+1=' is held out in 'two.jsonl' and trained on "
        "in 'one.jsonl'; keep the prompts of the members apart, or hold out the same ones"
    ) in refusal(write_campaign(changes))


def test_members_that_share_prompts_and_hold_out_the_same_are_accepted(write_campaign, tmp_path):
    accepted(write_campaign(two_of(tmp_path, {})))


# Draws ------------------------------------------------------------------------------------------------


def test_arms_of_the_same_task_have_their_problems_drawn_once(write_campaign, monkeypatch):
    other = {"name": "minus", "task": {"operations": ["-"]}}
    arms = [{"name": "grpo"}, {"name": "held", "loops": {"entropy": BONUS}}, other]
    campaign = read_campaign(write_campaign(MIXED | {"arms": arms, "evaluation.num_problems": 2}))
    drawn = []

    def counted(task, num_problems):
        drawn.append(task)
        return held_out_set(task, num_problems)

    monkeypatch.setattr(prompt_checks, "held_out_set", counted)
    check_campaign(campaign)
    assert drawn == [campaign.arms[0].config.task, campaign.arms[2].config.task]
