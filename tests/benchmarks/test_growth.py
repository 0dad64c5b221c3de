"""The parts of the benchmarks of an iteration, at sizes of a toy: what they time has the shape that they say."""

from __future__ import annotations

import pytest

from benchmarks.fixed_lengths import Shape, train
from benchmarks.growth import AXES, Point, exponent, seconds_of
from policies.model.loading import LoadedPolicy
from policies.model.tiny import TinyModel, character_tokenizer, tiny_model

TOY = Shape(num_prompts=1, group_size=2, response_tokens=3)


def test_an_exponent_is_the_power_of_growth():
    sizes = [32, 64, 256]
    assert exponent(sizes, [5 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    assert exponent(sizes, [7, 7, 7]) == pytest.approx(0)


def test_along_an_axis_one_figure_grows():
    for points in AXES.values():
        figures = [
            (
                each.shape.response_tokens,
                each.shape.group_size,
                each.prompt_tokens,
                each.vocabulary,
                each.ranks,
            )
            for each in points.values()
        ]
        moved = [len(set(column)) for column in zip(*figures, strict=True)]
        assert sorted(moved) == [1, 1, 1, 1, len(points)]


@pytest.mark.trains
def test_a_point_is_a_run_of_its_shape():
    """The run itself asserts the length of its responses."""
    found = seconds_of(Point(shape=TOY, prompt_tokens=5, vocabulary=40), iterations=2)
    phases = sum(found[name] for name in ("rollout", "grade", "measure", "control", "update"))
    assert 0 < phases <= found["iteration"]


@pytest.mark.trains
def test_a_run_of_a_shape_may_measure_in_the_update(tmp_path):
    tokenizer = character_tokenizer("ab", 16)
    LoadedPolicy(tiny_model(TinyModel(max_tokens=16), tokenizer, seed=0).eval(), tokenizer).save(
        tmp_path / "model"
    )
    problems = [{"prompt": "ab", "answer": "a"}, {"prompt": "ba", "answer": "b"}]
    records = train(tmp_path / "model", problems, TOY, 2, "run", learner={"measure": "in_update"})
    assert [record["loop/entropy/dead_time"] for record in records] == [1.0, 1.0]
    assert all(record["seconds/processor"] > 0 for record in records)
