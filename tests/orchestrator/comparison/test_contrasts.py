"""Arms against a baseline: pairs by seed, a family of tests, and what is said with too few seeds."""

import math

import pytest

from orchestrator.comparison.contrasts import baseline_of, contrasts, require_metric
from orchestrator.comparison.values import final_value
from orchestrator.errors import ConfigError
from orchestrator.storage.run_data import ArmRecords

PASS = "eval/pass_at_1"


def by_arm(arms, baseline="base"):
    return {row.arm: row for row in contrasts(arms, PASS, baseline)}


def test_seeds_pair_by_their_number_not_by_their_place(make_arm):
    base = make_arm("base", {0: 0.1, 1: 0.5, 2: 0.9})
    held = make_arm("held", {2: 1.0, 0: 0.2, 1: 0.6, 7: 0.0})
    row = by_arm([base, held])["held"]
    assert row.num_pairs == 3
    assert row.difference == pytest.approx(0.1)  # of each seed; the means differ by −0.05
    assert row.estimate.mean == pytest.approx(0.45)
    assert row.p == 2 / 8
    # of the 9 pairs of values larger: 1.0 > all 3; 0.2 > 0.1; 0.6 > 0.1, 0.5: 6; smaller: 3
    assert row.delta == pytest.approx(3 / 9)


def test_too_few_seeds_is_said_with_how_many_would_do(make_arm):
    base, held = make_arm("base", {0: 0.1, 1: 0.2, 2: 0.3}), make_arm("held", {0: 0.5, 1: 0.7, 2: 0.9})
    assert (
        by_arm([base, held])["held"].verdict
        == "too few seeds: 3 give no p below 0.25; 11 find an effect of d_z = 1 in 80 % of cases"
    )


def test_more_arms_need_more_seeds(make_arm):
    base = make_arm("base", dict.fromkeys(range(6), 0.1))
    better = {seed: 0.5 + 0.01 * seed for seed in range(6)}
    assert by_arm([base, make_arm("one", better)])["one"].verdict == "higher"
    both = by_arm([base, make_arm("one", better), make_arm("two", better)])
    assert both["one"].p == 2 / 64
    assert both["one"].p_adjusted == 4 / 64
    assert both["one"].verdict == (
        "too few seeds: 6 give no p below 0.0625; 13 find an effect of d_z = 1 in 80 % of cases"
    )


@pytest.mark.parametrize(("sign", "verdict"), [(1, "higher"), (-1, "lower")])
def test_the_verdict_has_a_direction(make_arm, sign, verdict):
    base = make_arm("base", dict.fromkeys(range(6), 0.5))
    other = make_arm("other", {seed: 0.5 + sign * 0.01 * (seed + 1) for seed in range(6)})
    row = by_arm([base, other])["other"]
    assert row.verdict == verdict
    assert math.copysign(1, row.effect) == sign


def test_enough_seeds_and_no_effect_is_said_otherwise(make_arm):
    base = make_arm("base", dict.fromkeys(range(6), 0.5))
    other = make_arm("other", {seed: 0.5 + 0.01 * (-1) ** seed for seed in range(6)})
    assert by_arm([base, other])["other"].verdict == "no difference detected"


def test_arms_without_a_common_seed_are_not_tested(make_arm):
    rows = by_arm([make_arm("base", {0: 0.1, 1: 0.2}), make_arm("x", {5: 0.3}), make_arm("y", {1: 0.3})])
    assert rows["x"].verdict == "no seed in common"
    assert rows["y"].verdict.startswith("one seed: chance")
    assert math.isnan(rows["y"].p)


def test_why_there_is_no_pair_is_said(make_arm):
    nan = math.nan
    base, none = make_arm("base", {0: 0.1}), make_arm("none", {0: 0.1}, status="running")
    assert by_arm([base, none])["none"].verdict == "no finished run"
    assert by_arm([base, make_arm("x", {0: nan, 1: nan})])["x"].verdict == "no finished run has the metric"
    for bare in (make_arm("base", {0: nan}), make_arm("base", {0: 0.5}, status="failed")):
        verdict = by_arm([bare, make_arm("x", {0: 0.3})])["x"].verdict
        assert verdict == "no finished run of the baseline has the metric"


def test_the_baseline_is_held_against_nobody(make_arm):
    row = by_arm([make_arm("base", {0: 0.1, 1: 0.3}), make_arm("x", {0: 0.3})])["base"]
    assert (row.verdict, row.num_pairs, row.estimate.mean) == ("baseline", 0, 0.2)


def test_unfinished_runs_do_not_count(make_arm):
    base = make_arm("base", {0: 0.1, 1: 0.2})
    rows = by_arm([base, make_arm("x", {0: 0.3, 1: 0.4}, status="failed")])
    assert rows["x"].estimate.num == 0


def test_the_plain_arm_is_the_baseline_unless_another_is_asked_for(make_arm):
    arms = [make_arm("a", {}), make_arm("b", {}, method="grpo"), make_arm("c", {})]
    assert baseline_of(arms) == "b"
    assert baseline_of(arms[::2]) == "a"
    assert baseline_of(arms, "c") == "c"
    with pytest.raises(ConfigError, match="no arm 'd' to compare with; known: a, b, c"):
        baseline_of(arms, "d")


def test_an_evaluation_counts_at_its_end_and_training_over_its_last_tenth(make_run):
    run = make_run(train={"reward": [0.0] * 18 + [0.4, 0.6]}, evaluation={PASS: {0: 0.1, 20: 0.7}})
    assert final_value(run, "reward") == pytest.approx(0.5)
    assert final_value(run, PASS) == 0.7


def test_a_metric_that_arms_lack_is_said_with_their_names(make_arm):
    arms = [make_arm("a", {0: 0.1}), make_arm("b", {0: 0.2})]
    require_metric(arms, PASS)
    with pytest.raises(
        ConfigError, match="no run has the metric 'eval/pass_at_2'; did you mean 'eval/pass_at_1'"
    ):
        require_metric(arms, "eval/pass_at_2")
    arms[0].runs[0].train.values["extra"] = arms[0].runs[0].train.steps
    with pytest.raises(ConfigError, match="runs of b lack the metric 'extra'"):
        require_metric(arms, "extra")


def test_a_metric_is_looked_for_in_runs_that_are_not_finished_too(make_arm, make_run):
    running = make_arm("a", {0: 0.1}, status="running")
    with pytest.raises(ConfigError, match="no run has the metric 'bogus'; known: eval/pass_at_1"):
        require_metric([running], "bogus")
    require_metric([running], PASS)
    other = ArmRecords(name="b", method="m", runs=(make_run("b", status="failed", train={"reward": [0.5]}),))
    with pytest.raises(ConfigError, match="runs of b lack the metric 'eval/pass_at_1'"):
        require_metric([running, other], PASS)
    waiting = ArmRecords(name="c", method="m", runs=(make_run("c", status="pending"),))
    require_metric([running, waiting], PASS)  # not known yet
    with pytest.raises(ConfigError, match="no run has the metric 'eval/pass_at_1'; known: none"):
        require_metric([waiting], PASS)
