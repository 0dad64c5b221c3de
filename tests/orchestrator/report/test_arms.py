"""A page shows some arms before a reader has chosen any."""

from __future__ import annotations

from orchestrator.comparison.comparison import compare
from orchestrator.report.arms import arms_of, shown_at_first
from tests.orchestrator.report.small_campaigns import campaign_of, make_run


def comparison_of(finals, baseline="arm 0"):
    """Arms `arm 0`, `arm 1`, … with these final values of pass@1, None for an arm without any."""
    runs = [make_run(f"arm {n}", 0, {"entropy": [1.0]}, passed=value) for n, value in enumerate(finals)]
    return compare(campaign_of(*runs), baseline=baseline)


def test_up_to_eight_arms_are_all_shown():
    assert shown_at_first(comparison_of([0.5] * 8)) == {*range(8)}


def test_of_more_arms_the_baseline_and_the_best_of_each_colour_are_shown():
    # eight colours: arms 0 and 8 share one, 1 and 9, 2 and 10; the better of each two, but the baseline first
    finals = [0.5, 0.2, 0.9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.1, 0.3, 0.8]
    assert shown_at_first(comparison_of(finals)) == {0, 9, 2, 3, 4, 5, 6, 7}
    assert shown_at_first(comparison_of(finals, baseline="arm 8")) == {8, 9, 2, 3, 4, 5, 6, 7}
    assert shown_at_first(comparison_of(finals, baseline="arm 10")) == {0, 9, 10, 3, 4, 5, 6, 7}
    without = [*finals[:1], None, *finals[2:]]
    assert 9 in shown_at_first(
        comparison_of([*without[:9], 0.0, without[10]])
    )  # any value is better than none


def test_the_script_knows_every_arm():
    found = arms_of(comparison_of([0.5, 0.2, *[0.4] * 7, None]))
    assert [arm["name"] for arm in found["arms"]] == [f"arm {n}" for n in range(10)]
    assert [arm["colour"] for arm in found["arms"]] == [*range(8), 0, 1]
    assert [arm["score"] for arm in found["arms"]] == [0.5, 0.2, *[0.4] * 7, None]
    assert [arm["shown"] for arm in found["arms"]] == [True] * 8 + [False] * 2
    assert found["metric"] == "eval/pass_at_1"
