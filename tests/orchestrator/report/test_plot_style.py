"""Colours of arms, and what stands in the place of a figure without data."""

from __future__ import annotations

from orchestrator.report.plot_style import Figure, colour_index, styled


def test_an_arm_has_the_colour_of_its_place_and_the_ninth_has_that_of_the_first():
    names = [f"arm {number}" for number in range(18)]
    assert [colour_index(names, name) for name in names] == [*range(8), *range(8), 0, 1]


def test_a_figure_without_data_is_a_sentence():
    empty = Figure(id="a", title="A", unit="nats", data=[{"x": []}, {"x": []}])
    assert styled(empty, missing="nothing yet") == Figure(
        id="a", title="A", unit="nats", missing="nothing yet"
    )
    some = Figure(id="a", title="A", unit="nats", data=[{"x": []}, {"x": [1]}])
    assert styled(some, missing="nothing yet").missing == ""
    assert styled(some, missing="nothing yet").data == some.data
