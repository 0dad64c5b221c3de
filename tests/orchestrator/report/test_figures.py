"""Figures of runs made of a few numbers."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.comparison.comparison import compare
from orchestrator.report.figures import commands, entropy, last_iteration, most_points, trajectories
from orchestrator.report.html_tables import sparklines
from orchestrator.report.mechanism import predictions
from orchestrator.report.plot_style import padded, smooth, thinned
from tests.orchestrator.report.small_campaigns import campaign_of, make_run


def test_iterations_at_a_limit_are_shaded_from_edge_to_edge():
    """Two seeds: half of them is enough, and a stretch reaches half an iteration beyond its first and last."""
    loops = {"loops": {"h": {"limits": [0.0, 1.0]}}}
    saturated = [[0, 1, 1, 0, 0, 1], [0, 0, 1, 1, 0, 0]]
    runs = [
        make_run("a", seed, {"loop/h/u": [0.1, 0.5, 0.6, 0.7, 0.2, 0.3], "loop/h/saturated": flags}, loops)
        for seed, flags in enumerate(saturated)
    ]
    (figure,) = commands(campaign_of(*runs))
    shaded = [shape for shape in figure.layout["shapes"] if shape["type"] == "rect"]
    assert [(shape["x0"], shape["x1"]) for shape in shaded] == [(0.5, 3.5), (4.5, 5.5)]
    assert {(shape["yref"], shape["y0"], shape["y1"]) for shape in shaded} == {("paper", 0, 1)}
    limits = [shape for shape in figure.layout["shapes"] if shape["type"] == "line"]
    assert [(shape["y0"], shape["y1"]) for shape in limits] == [(0.0, 0.0), (1.0, 1.0)]
    assert {(shape["xref"], shape["x0"], shape["x1"]) for shape in limits} == {("paper", 0, 1)}
    assert last_iteration(campaign_of(*runs)) == 5


def test_a_command_is_drawn_with_the_terms_that_do_something():
    train = {
        "loop/h/u": [0.1, 0.2],
        "loop/h/term/p": [0.0, -0.1],
        "loop/h/term/d": [0.0, 0.0],
        "loop/h/term/i": [0.1, 0.3],
    }
    (figure,) = commands(campaign_of(make_run("a", 0, train)))
    lines = {trace["name"]: (trace["x"], trace["y"]) for trace in figure.data}
    assert lines == {
        "p": ([0, 1], [0.0, -0.1]),
        "i": ([0, 1], [0.1, 0.3]),
        "command u": ([0, 1], [0.1, 0.2]),
    }
    low, high = figure.layout["yaxis"]["range"]
    # the command spans 0.1; terms count up to 0.1 beyond it, which is −0.0 to 0.3, and 6 % of 0.3 is room
    assert (low, high) == pytest.approx((-0.018, 0.318))


def test_predictions_are_drawn_where_one_arm_has_them():
    entropy = {"entropy": [1.0, 0.9, 0.7, 0.6]}
    predicted = entropy | {"entropy/predicted_change": [-0.1, -0.2, -0.1, 0.0]}
    none = campaign_of(make_run("a", 0, entropy), make_run("b", 0, entropy))
    assert predictions(compare(none)) == []
    both = predictions(compare(campaign_of(make_run("a", 0, entropy), make_run("b", 0, predicted))))
    assert [bool(figure.missing) for figure in both] == [True, False]
    all_of_them = predictions(compare(campaign_of(make_run("a", 0, predicted))))
    assert [bool(figure.missing) for figure in all_of_them] == [False]


def test_a_smoothed_course_is_the_mean_of_five_and_of_fewer_at_the_ends():
    values = np.array([0.0, 3.0, 6.0, 1.0, 10.0, 4.0])
    # (0+3+6)/3, (0+3+6+1)/4, 20/5, 24/5, (6+1+10+4)/4, (1+10+4)/3
    assert smooth(values) == pytest.approx([3.0, 2.5, 4.0, 4.8, 5.25, 5.0])
    assert smooth(values[:4]).tolist() == [0.0, 3.0, 6.0, 1.0]  # too few to smooth
    assert smooth(values[:5]).tolist() == pytest.approx([3.0, 2.5, 4.0, 5.0, 17 / 3])


def test_a_range_has_room_and_a_scatter_keeps_its_ends():
    assert padded(np.array([1.0, 3.0, 2.0])) == pytest.approx([0.88, 3.12])  # 6 % of 2
    assert padded(np.array([2.0, 2.0])) == pytest.approx([1.9, 2.1])
    arms = [make_run(f"arm {n}", 0, {"entropy": [1.0]}) for n in range(60)]
    shares = [most_points(campaign_of(*arms[:num])) for num in (1, 10, 20, 60)]
    assert shares == [1500, 1500, 750, 300]  # 15 000 over all arms, 1500 at most and 300 at least
    assert thinned(9, 3).tolist() == [0, 4, 8]
    assert thinned(3, 9).tolist() == [0, 1, 2]


def test_a_trajectory_is_coloured_from_its_first_iteration_to_the_last_of_all():
    runs = [
        make_run(arm, 0, {"entropy": [0.5] * num, "reward": [0.1] * num}) for arm, num in (("a", 3), ("b", 7))
    ]
    markers = [figure.data[0]["marker"] for figure in trajectories(campaign_of(*runs))]
    assert [(marker["cmin"], marker["cmax"]) for marker in markers] == [
        (0, 5)
    ] * 2  # smoothed, b ends at (4 + 5 + 6) / 3
    assert markers[0]["color"] == [0.0, 1.0, 2.0]
    places = [place for place, _ in markers[0]["colorscale"]]
    assert (places[0], places[-1]) == (0.0, 1.0)
    assert places == sorted(places)
    assert trajectories(campaign_of(make_run("a", 0, {"entropy": [0.5]}))) == []


@pytest.mark.parametrize(("sensor", "num_dashed"), [("entropy/wrong", 1), ("teaching_groups", 0)])
def test_a_setpoint_that_is_not_of_entropy_is_not_drawn_beside_it(sensor, num_dashed):
    loop = {"loop/h/y": [0.3] * 40, "loop/h/r": [0.6] * 40, "loop/h/u": [0.0] * 40}
    run = make_run("a", 0, {"entropy": [0.2] * 40, **loop}, {"loops": {"h": {"sensor": sensor}}})
    figure = entropy(campaign_of(run))
    assert (
        len([trace for trace in figure.data if trace["line"].get("dash", "solid") != "solid"]) == num_dashed
    )


def test_sparks_have_setpoints_of_entropy_alone():
    """A share of groups as a setpoint has no place on the scale of nats."""
    config = {"loops": {"entropy": {"sensor": "teaching_groups"}}}
    train = {"entropy": [0.3, 0.2, 0.1], "loop/entropy/r": [0.6] * 3, "loop/entropy/u": [0.0] * 3}
    (spark,) = sparklines(campaign_of(make_run("a", 0, train, config=config))).values()
    assert spark.points.count(",") == 3
    assert spark.aim == ""
    held = {
        "entropy": [0.3, 0.2, 0.1],
        "loop/entropy/r": [0.2, float("nan"), 0.2],
        "loop/entropy/u": [0.0] * 3,
    }
    config = {"loops": {"entropy": {"sensor": "entropy"}}}
    (spark,) = sparklines(campaign_of(make_run("a", 0, held, config=config))).values()
    assert spark.aim.count(",") == 2
    assert "nan" not in spark.aim
