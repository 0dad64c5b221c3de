"""From a campaign file to its runs: what lies on what, and what a method brings along."""

from __future__ import annotations

import copy

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.part_schema import to_plain
from orchestrator.configuration.resolve import method_names, read_campaign, read_method
from orchestrator.configuration.yaml_files import merge, read_yaml
from orchestrator.errors import ConfigError

# Merging ----------------------------------------------------------------------------------------------


def test_merge_goes_level_by_level():
    base = {"a": {"x": 1, "y": 2}, "b": 3}
    assert merge(base, {"a": {"y": 5}, "c": 6}) == {"a": {"x": 1, "y": 5}, "b": 3, "c": 6}
    assert base == {"a": {"x": 1, "y": 2}, "b": 3}


def test_another_kind_replaces_and_the_same_kind_adds():
    base = {"law": {"kind": "pid", "kp": 1.0}}
    assert merge(base, {"law": {"kind": "pid", "ki": 2.0}}) == {"law": {"kind": "pid", "kp": 1.0, "ki": 2.0}}
    assert merge(base, {"law": {"ki": 2.0}}) == {"law": {"kind": "pid", "kp": 1.0, "ki": 2.0}}
    assert merge(base, {"law": {"kind": "increment", "rate": 1}}) == {"law": {"kind": "increment", "rate": 1}}


def test_a_kind_said_later_keeps_what_was_said_before():
    assert merge({"task": {"num_digits": 1}}, {"task": {"kind": "arithmetic"}}) == {
        "task": {"kind": "arithmetic", "num_digits": 1}
    }


def test_lists_and_scalars_are_replaced_whole():
    assert merge({"a": [1, 2], "b": {"x": 1}}, {"a": [3], "b": None}) == {"a": [3], "b": None}


trees = st.recursive(
    st.integers(0, 3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
).filter(lambda tree: isinstance(tree, dict))


@given(trees, trees, trees)
def test_merge_is_associative_has_a_neutral_element_and_changes_nothing(one, two, three):
    before = copy.deepcopy((one, two))
    assert merge(one, {}) == merge({}, one) == one == merge(one, one)
    merge(one, two)
    assert (one, two) == before
    if not _clashes(one, two, three):
        assert merge(merge(one, two), three) == merge(one, merge(two, three))


def _clashes(*layers):
    """Whether a key is a mapping in one layer and a scalar in another, where order has to count."""
    present = [layer for layer in layers if isinstance(layer, dict)]
    for key in {key for layer in present for key in layer}:
        values = [layer[key] for layer in present if key in layer]
        if len({isinstance(value, dict) for value in values}) > 1 or _clashes(*values):
            return True
    return False


# Overrides --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("a.b=2", "a.b", 2),
        ("a.b=1e-3", "a.b", 0.001),
        ("a.b=text", "a.b", "text"),
        ("a.b='2'", "a.b", "2"),
        ("a.b=[1, 2]", "a.b", [1, 2]),
        ("a.b=null", "a.b", None),
        ("a.b=x=y", "a.b", "x=y"),
        ("a.new.key=1", "a.new.key", 1),
        ("list.1.x=9", "list.1.x", 9),
        ("a.b=${c}", "a.b", 7),
    ],
)
def test_overrides(tmp_path, override, path, value):
    file = tmp_path / "x.yaml"
    file.write_text("a: {b: 1, d: 4}\nlist: [{x: 1}, {x: 2}]\nc: 7\n")
    found = read_yaml(file, [override])
    for key in path.split("."):
        found = found[int(key) if isinstance(found, list) else key]
    assert found == value
    assert read_yaml(file, [override])["a"]["d"] == 4


def test_an_empty_mapping_is_refused_where_it_would_change_nothing(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("space: {kp: 1}\nnothing: {}\n")
    with pytest.raises(ConfigError, match=r"--set space=\{\}: an empty mapping changes nothing"):
        read_yaml(path, ["space={}"])
    assert read_yaml(path, ["nothing={}", "new={}"]) == {"space": {"kp": 1}, "nothing": {}, "new": {}}


def test_overrides_come_one_after_another_and_before_interpolation(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("a: 1\nb: ${a}\n")
    assert read_yaml(file, ["a=2", "a=3"]) == {"a": 3, "b": 3}


@pytest.mark.parametrize("override", ["list.x.y=1", "list.9.x=1", "a=[1"])
def test_override_that_leads_nowhere(tmp_path, override):
    file = tmp_path / "x.yaml"
    file.write_text("a: {b: 1}\nlist: [{x: 1}]\n")
    with pytest.raises(ConfigError, match=r"--set .*key\.path=value"):
        read_yaml(file, [override])


# Arms -------------------------------------------------------------------------------------------------


def arms_of(path, *overrides):
    return {arm.name: arm for arm in read_campaign(path, overrides).arms}


def test_campaign_then_method_then_arm(write_campaign):
    path = write_campaign(
        {
            "learner.minibatches": 2,
            "learner.objective": {"kind": "clipped_surrogate", "clip_low": 0.1, "dual_clip": 3.0},
            "arms": [
                {"name": "plain", "method": "grpo"},
                {"name": "preset", "method": "clip_higher"},
                {"name": "mine", "method": "clip_higher", "learner": {"objective": {"clip_high": 0.5}}},
            ],
        }
    )
    arms = arms_of(path)
    assert (arms["plain"].config.learner.objective.clip_low, arms["plain"].method) == (0.1, "grpo")
    preset = arms["preset"].config
    assert (preset.learner.objective.clip_low, preset.learner.objective.dual_clip) == (0.2, 10.0)
    assert preset.loops["entropy"].law.value == 0.08
    assert preset.learner.minibatches == 2  # the campaign's, which the method leaves alone
    mine = arms["mine"].config.learner.objective
    assert (mine.clip_low, mine.clip_high, mine.dual_clip) == (0.2, 0.5, 10.0)


def test_arm_overrides_a_part_of_a_preset_or_exchanges_it(write_campaign):
    gain = {"name": "gain", "method": "entropic", "loops": {"entropy": {"law": {"kp": 9.0}}}}
    fixed = {"kind": "open_loop", "value": 0.5}
    other = {"name": "other", "method": "entropic", "loops": {"entropy": {"law": fixed}}}
    arms = arms_of(write_campaign({"arms": [gain, other]}))
    preset = read_method("entropic").loops["entropy"]["law"]
    assert arms["gain"].plain["loops"]["entropy"]["law"]["kp"] == 9.0
    assert arms["gain"].plain["loops"]["entropy"]["law"]["ki"] == preset["ki"]
    assert arms["other"].plain["loops"]["entropy"]["law"] == fixed


def test_arms_do_not_touch_each_other(write_campaign):
    path = write_campaign({"arms.0.rollout": {"temperature": 0.5}, "arms.0.task": {"num_digits": 2}})
    arms = arms_of(path)
    assert (arms["grpo"].config.rollout.temperature, arms["grpo"].config.task.num_digits) == (0.5, 2)
    assert (arms["held"].config.rollout.temperature, arms["held"].config.task.num_digits) == (1.0, 1)


def test_an_arm_may_have_another_task_altogether(write_campaign):
    path = write_campaign({"arms.0.task": {"kind": "countdown", "num_numbers": 2}})
    arms = arms_of(path)
    assert arms["grpo"].plain["task"]["kind"] == "countdown"
    assert "num_digits" not in arms["grpo"].plain["task"]
    assert arms["held"].plain["task"]["kind"] == "arithmetic"


def test_overrides_reach_every_arm(write_campaign):
    arms = arms_of(write_campaign(), "learner.iterations=20", "arms.1.name=other")
    assert {arm.config.learner.iterations for arm in arms.values()} == {20}
    assert set(arms) == {"grpo", "other"}


def test_method_by_path_and_beside_the_campaign(write_campaign, tmp_path):
    method = {"method": "mine", "summary": "s", "source": "me", "rollout": {"temperature": 0.7}}
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "mine.yaml").write_text(yaml.safe_dump(method))
    for name in ("mine", "methods/mine.yaml"):
        path = write_campaign({"arms": [{"name": "a", "method": name}]})
        assert arms_of(path)["a"].config.rollout.temperature == 0.7
    assert "mine" in method_names(path)


def test_fingerprint_is_of_the_result_and_not_of_how_it_is_computed(write_campaign):
    def fingerprint(**changes):
        return arms_of(write_campaign(changes))["grpo"].fingerprint

    same = fingerprint()
    assert fingerprint() == same
    assert fingerprint(**{"execution.workers": 4, "description": "x"}) == same
    assert fingerprint(**{"learner.micro_batch_size": 2, "learner.checkpoint_every": 1}) == same
    assert fingerprint(**{"learner.recompute_activations": True}) == same
    assert fingerprint(**{"rollout.max_staleness": 3, "evaluation.keep_best": "eval/pass_at_1"}) == same
    assert fingerprint(**{"policy.reference": "other"}) == same  # no loop reads it
    assert fingerprint(**{"learner.learning_rate": 2.0e-3}) != same


def test_a_reference_that_a_loop_reads_is_in_the_fingerprint(write_campaign):
    loop = {"law": {"kind": "open_loop", "value": 0.1}, "actuator": {"kind": "kl_coefficient"}}
    of = [
        arms_of(write_campaign({"arms.0.loops": {"kl": loop}, **changes}))["grpo"].fingerprint
        for changes in ({}, {"policy.reference": "other"})
    ]
    assert of[0] != of[1]


def test_a_run_of_before_precision_was_auto_is_the_same_run(write_campaign):
    """`auto` is 32-true on a CPU, as the default was."""
    of = [
        read_campaign(write_campaign(changes)).arms[0].fingerprint
        for changes in ({}, {"learner.precision": "32-true"}, {"learner.precision": "bf16-mixed"})
    ]
    assert of[0] == of[1] != of[2]


@pytest.mark.parametrize("name", method_names())
def test_every_preset_reads_back_the_same_from_its_plain_form(write_campaign, name):
    path = write_campaign({"arms": [{"name": "arm", "method": name}], "learner.group_size": 8})
    (arm,) = read_campaign(path).arms
    assert RunConfig(**arm.plain) == arm.config
    assert to_plain(RunConfig(**arm.plain)) == arm.plain
    assert RunConfig(**yaml.safe_load(yaml.safe_dump(arm.plain))) == arm.config
