"""Figures over all arms, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orchestrator.comparison import Estimate
from orchestrator.comparison.bootstrap import Interval
from orchestrator.comparison.comparison import compare
from orchestrator.report.comparison_figures import pass_at_k, profiles
from tests.orchestrator.report.small_campaigns import campaign_of, make_run

TRAIN = {"entropy": [1.0]}


def test_a_profile_is_a_line_of_each_arm_and_a_band_where_seeds_give_one():
    arms = [make_run("a", 0, TRAIN, add=0.25, sub=0.755), make_run("b", 0, TRAIN, add=0.5, sub=0.5)]
    figure = profiles(compare(campaign_of(*arms), baseline="a"))
    lines = {trace["name"]: trace for trace in figure.data}
    assert [*lines] == ["a", "b"]  # one seed: no band
    shares = dict(zip(lines["a"]["x"], lines["a"]["y"]))
    assert [shares[x] for x in (0.24, 0.5, 0.76)] == [1.0, 0.5, 0.0]
    assert [trace["meta"] for trace in figure.data] == [[0], [1]]
    assert figure.unit == "share of seeds × 2 parts of the held-out problems above each pass_at_1"
    assert profiles(compare(campaign_of(make_run("a", 0, TRAIN, passed=0.5)), baseline="a")).missing


def test_pass_at_k_is_drawn_of_the_arms_that_have_it_inside_of_0_and_1():
    arms = [make_run("none", 0, TRAIN, passed=0.5), make_run("some", 0, TRAIN, passed=0.5)]
    found = {1: (Estimate((0.25,)), Interval(-0.1, 0.5)), 8: (Estimate((0.75,)), Interval(0.5, 1.2))}
    comparison = replace(compare(campaign_of(*arms), baseline="none"), pass_at_k=({}, found))
    band, line = pass_at_k(comparison).data
    assert (line["name"], line["x"], line["y"], line["meta"]) == ("some", [1.0, 8.0], [0.25, 0.75], [1])
    assert line["marker"]["symbol"] == "circle"
    assert (band["x"], band["y"]) == ([1.0, 8.0, 8.0, 1.0], [0.5, 1.0, 0.5, 0.0])  # there above, back below
    narrow = {k: (estimate, Interval()) for k, (estimate, _) in found.items()}
    assert len(pass_at_k(replace(comparison, pass_at_k=({}, narrow))).data) == 1
    empty = pass_at_k(replace(comparison, pass_at_k=({}, {})))
    assert empty.missing == "No finished run was evaluated with several samples."


def test_bands_of_several_seeds_hold_the_line():
    arms = [make_run("a", seed, TRAIN, add=0.2 + 0.1 * seed, sub=0.6) for seed in range(6)]
    figure = profiles(compare(campaign_of(*arms), baseline="a"))
    band, line = figure.data
    high, low = np.split(np.array(band["y"]), 2)
    assert (low[::-1] <= np.array(line["y"]) + 1e-9).all()
    assert (high >= np.array(line["y"]) - 1e-9).all()
    assert high.sum() > low.sum()
    assert band["x"] == pytest.approx([*line["x"], *line["x"][::-1]])
