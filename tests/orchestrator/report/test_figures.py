"""Figures of runs made of a few numbers."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.comparison.whole import compare
from orchestrator.report.figures import commands, last_iteration
from orchestrator.report.mechanism import predictions
from orchestrator.report.plot_style import padded, smooth, thinned
from orchestrator.report.tables import TABLES
from orchestrator.storage.run_data import Arm, Campaign, Run, Series
from orchestrator.storage.run_folder import CampaignInfo, RunInfo, Status

NONE = np.array([], dtype=np.int64)


def make_run(arm, seed, train, config=None, passed=None):
    columns = {name: np.array(values, dtype=float) for name, values in train.items()}
    exam = {"eval/pass_at_1": np.array([passed])} if passed is not None else {}
    return Run(
        info=RunInfo(campaign="c", arm=arm, seed=seed, method="m", config=config or {}),
        status=Status(status="done"),
        train=Series(steps=np.arange(max(map(len, train.values()))), values=columns),
        evaluation=Series(steps=NONE + 9 if passed is None else np.array([9]), values=exam),
        seconds=1.0,
    )


def make_campaign(*runs):
    arms = dict.fromkeys(run.info.arm for run in runs)
    own = {name: tuple(run for run in runs if run.info.arm == name) for name in arms}
    return Campaign(
        info=CampaignInfo(name="c"),
        arms=tuple(Arm(name=name, method="m", runs=of_arm) for name, of_arm in own.items()),
    )


def test_iterations_at_a_limit_are_shaded_from_edge_to_edge():
    """Two seeds: half of them is enough, and a stretch reaches half an iteration beyond its first and last."""
    loops = {"loops": {"h": {"limits": [0.0, 1.0]}}}
    saturated = [[0, 1, 1, 0, 0, 1], [0, 0, 1, 1, 0, 0]]
    runs = [
        make_run("a", seed, {"loop/h/u": [0.1, 0.5, 0.6, 0.7, 0.2, 0.3], "loop/h/saturated": flags}, loops)
        for seed, flags in enumerate(saturated)
    ]
    (figure,) = commands(make_campaign(*runs))
    shaded = [shape for shape in figure.layout["shapes"] if shape["type"] == "rect"]
    assert [(shape["x0"], shape["x1"]) for shape in shaded] == [(0.5, 3.5), (4.5, 5.5)]
    assert {(shape["yref"], shape["y0"], shape["y1"]) for shape in shaded} == {("paper", 0, 1)}
    limits = [shape for shape in figure.layout["shapes"] if shape["type"] == "line"]
    assert [(shape["y0"], shape["y1"]) for shape in limits] == [(0.0, 0.0), (1.0, 1.0)]
    assert {(shape["xref"], shape["x0"], shape["x1"]) for shape in limits} == {("paper", 0, 1)}
    assert last_iteration(make_campaign(*runs)) == 5


def test_predictions_are_drawn_where_one_arm_has_them():
    entropy = {"entropy": [1.0, 0.9, 0.7, 0.6]}
    predicted = entropy | {"entropy/predicted_change": [-0.1, -0.2, -0.1, 0.0]}
    none = make_campaign(make_run("a", 0, entropy), make_run("b", 0, entropy))
    assert predictions(compare(none)) == []
    both = predictions(compare(make_campaign(make_run("a", 0, entropy), make_run("b", 0, predicted))))
    assert [bool(figure.missing) for figure in both] == [True, False]
    all_of_them = predictions(compare(make_campaign(make_run("a", 0, predicted))))
    assert [bool(figure.missing) for figure in all_of_them] == [False]


def test_a_mean_has_three_digits():
    arms = [make_run("a", seed, {"entropy": [1.0]}, passed=passed) for seed, passed in enumerate((0.25, 0.5))]
    arms += [make_run("b", 0, {"entropy": [1.0]}, passed=2 / 3)]
    rows = dict(TABLES["statistics"](compare(make_campaign(*arms))).rows)
    assert [rows[arm][0].text for arm in ("a", "b")] == ["0.375", "0.667"]


def test_a_smoothed_course_is_the_mean_of_five_and_of_fewer_at_the_ends():
    values = np.array([0.0, 3.0, 6.0, 1.0, 10.0, 4.0])
    # (0+3+6)/3, (0+3+6+1)/4, 20/5, 24/5, (6+1+10+4)/4, (1+10+4)/3
    assert smooth(values) == pytest.approx([3.0, 2.5, 4.0, 4.8, 5.25, 5.0])
    assert smooth(values[:4]).tolist() == [0.0, 3.0, 6.0, 1.0]  # too few to smooth
    assert smooth(values[:5]).tolist() == pytest.approx([3.0, 2.5, 4.0, 5.0, 17 / 3])


def test_a_range_has_room_and_a_scatter_keeps_its_ends():
    assert padded(np.array([1.0, 3.0, 2.0])) == pytest.approx([0.88, 3.12])  # 6 % of 2
    assert padded(np.array([2.0, 2.0])) == pytest.approx([1.9, 2.1])
    assert thinned(9, 3).tolist() == [0, 4, 8]
    assert thinned(3, 9).tolist() == [0, 1, 2]
