"""What training did to the policy's chance: means of the first, the middle and the last tenth."""

import math

from orchestrator.comparison.comparison import compare
from orchestrator.report.tables import TABLES
from tests.orchestrator.report.small_campaigns import campaign_of, make_run


def trend(runs, metric):
    table = TABLES["trends"](compare(campaign_of(*runs)))
    column = [head.title for head in table.heads].index(metric)
    return {arm: cells[column] for arm, cells in table.rows}


def of(seed, entropy, arm="a", **more):
    return make_run(arm, seed, {"entropy": entropy, "pass_rate": [0.5] * len(entropy), **more})


def test_a_course_is_the_mean_over_seeds_of_three_tenths():
    first = [1.0, 3.0] + [9.0] * 7 + [0.4, 0.6] + [9.0] * 7 + [0.1, 0.3]  # 20 iterations: tenths of two
    found = trend([of(0, first), of(1, [0.0] * 20)], "entropy")
    assert found["a"].text == "1.00 → 0.25 → 0.10"
    assert found["a"].value == 0.1


def test_what_was_not_measured_in_an_iteration_is_left_out_of_its_mean():
    of_wrong = {"entropy/wrong": [math.nan, 0.8] + [0.5] * 16 + [math.nan, math.nan]}
    found = trend([of(0, [1.0] * 20, **of_wrong)], "of wrong")
    assert found["a"].text == "0.80 → 0.50 → –"
    assert math.isnan(found["a"].value)


def test_what_was_never_measured_is_a_dash():
    assert trend([of(0, [1.0] * 20)], "starved")["a"].text == "–"
