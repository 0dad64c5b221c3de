import json
from math import inf, isnan, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.loop_state import restore
from controllers.parts.moving_references import Piecewise, ScheduledBand
from controllers.parts.references import (
    REFERENCES,
    Annealed,
    Band,
    Cascade,
    Constant,
    Coverage,
    Free,
    InitialAnchored,
    Schedule,
)

EXAMPLES = [
    Constant(value_nats=0.3),
    InitialAnchored(fraction=0.4, num_readings=3),
    Schedule(start_nats=0.9, end_nats=0.2, start_iteration=3, num_iterations=7, shape="cosine"),
    Band(low_nats=0.1, high_nats=0.5),
    Band(low_nats=0.1, high_nats=inf),
    Annealed(reference=Constant(value_nats=0.5), final_fraction=0.9, start_iteration=2, num_iterations=4),
    Annealed(
        reference=Band(low_nats=0.1, high_nats=0.5),
        final_fraction=2.0,
        start_iteration=2,
        num_iterations=4,
    ),
    Cascade(initial_nats=0.5, low_nats=0.1, high_nats=0.6, gain=9.0, relaxation=0.1, period=3),
    Coverage(),
    ScheduledBand(start_nats=(0.6, 0.7), end_nats=(0.4, 0.5), start_iteration=2, num_iterations=8),
    Piecewise(points=((2, 0.3), (5, 0.9), (9, 0.1))),
]


def references(reference, ys, first_iteration=0):
    """``reads`` get a value that goes up and down."""
    state, out = reference.init(), []
    for t, y in enumerate(ys, start=first_iteration):
        telemetry = dict.fromkeys(reference.reads, t * 0.37 % 1.0)
        state, r = reference.step(state, y, t, telemetry)
        out.append(r)
    return out


def test_free_has_no_target_and_no_error():
    assert all(isnan(r) for r in references(Free(), [0.7, 0.2]))
    assert all(isnan(bound) for bound in Free().bounds())


def test_constant():
    assert references(Constant(value_nats=0.1), [0.7, 0.0]) == [0.1, 0.1]


def test_initial_anchored_by_hand():
    # one reading: 0.4·1.5 = 0.6 for ever
    assert references(InitialAnchored(fraction=0.4), [1.5, 0.9, 9.0]) == pytest.approx([0.6, 0.6, 0.6])
    # two: 0.5·1, 0.5·3 while anchoring, then 0.5·(1 + 3)/2 = 1
    anchored = InitialAnchored(fraction=0.5, num_readings=2)
    assert references(anchored, [1.0, 3.0, 7.0, 0.1]) == [0.5, 1.5, 1.0, 1.0]


def test_schedule_by_hand():
    # from 1 to 0.2 over iterations 2..6: linear at t = 3 is 1 − 0.8/4 = 0.8
    linear = Schedule(start_nats=1.0, end_nats=0.2, start_iteration=2, num_iterations=4)
    assert references(linear, [0.0] * 9) == pytest.approx([1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2])
    # cosine at a quarter: done = (1 − cos(π/4))/2 = 0.1464466, 1 − 0.8·0.1464466 = 0.8828427
    cosine = Schedule(start_nats=1.0, end_nats=0.2, start_iteration=2, num_iterations=4, shape="cosine")
    assert references(cosine, [0.0] * 9)[3] == pytest.approx(0.8828427)
    assert references(cosine, [0.0] * 9)[-1] == 0.2


def test_band_error_is_the_distance_to_it():
    band = Band(low_nats=0.1, high_nats=0.5)
    assert references(band, [0.05, 0.1, 0.3, 0.7]) == [0.1, 0.1, 0.3, 0.5]
    assert references(Band(low_nats=0.1, high_nats=inf), [0.05, 40.0]) == [0.1, 40.0]


def test_scheduled_band_by_hand():
    # [0.6, 0.7] to [0.4, 0.5] over iterations 2..6: half way, at t = 4, it is [0.5, 0.6]
    band = ScheduledBand(start_nats=(0.6, 0.7), end_nats=(0.4, 0.5), start_iteration=2, num_iterations=4)
    assert band.edges(4) == pytest.approx((0.5, 0.6))
    assert references(band, [0.0] * 9) == pytest.approx([0.6, 0.6, 0.6, 0.55, 0.5, 0.45, 0.4, 0.4, 0.4])
    assert references(band, [2.0] * 9) == pytest.approx([0.7, 0.7, 0.7, 0.65, 0.6, 0.55, 0.5, 0.5, 0.5])
    assert references(band, [0.65, 0.61], first_iteration=0) == [0.65, 0.61]  # inside: no error
    assert references(band, [0.55], first_iteration=4) == [0.55]


def test_scheduled_band_that_rises_and_widens_by_hand():
    # [0.2, 0.3] to [0.4, 0.7] over iterations 1..5: a quarter of the way, at t = 2, it is [0.25, 0.4]
    band = ScheduledBand(start_nats=(0.2, 0.3), end_nats=(0.4, 0.7), start_iteration=1, num_iterations=4)
    assert band.edges(2) == pytest.approx((0.25, 0.4))
    assert references(band, [0.0] * 7) == pytest.approx([0.2, 0.2, 0.25, 0.3, 0.35, 0.4, 0.4])
    assert references(band, [2.0] * 7) == pytest.approx([0.3, 0.3, 0.4, 0.5, 0.6, 0.7, 0.7])
    assert references(band, [0.35] * 7) == pytest.approx([0.3, 0.3, 0.35, 0.35, 0.35, 0.4, 0.4])
    assert band.bounds() == (0.2, 0.7)


@given(st.floats(0.0, 2.0), st.integers(0, 30))
def test_inside_a_band_whose_edges_move_the_error_is_exactly_0(y, t):
    band = ScheduledBand(start_nats=(0.2, 0.9), end_nats=(0.5, 1.3), num_iterations=20, shape="cosine")
    (r,) = references(band, [y], first_iteration=t)
    low, high = band.edges(t)
    assert (r == y) == (low <= y <= high)
    assert low <= r <= high


def test_piecewise_by_hand():
    # 0.3 up to iteration 1, to 0.9 at 3 (0.6 half way), down to 0.1 at 5 (0.5 half way), and stays
    path = Piecewise(points=((1, 0.3), (3, 0.9), (5, 0.1)))
    assert references(path, [0.0] * 8) == pytest.approx([0.3, 0.3, 0.6, 0.9, 0.5, 0.1, 0.1, 0.1])
    assert path.bounds() == (0.1, 0.9)


def test_piecewise_equals_numpy():
    points = ((3, 0.5), (4, 0.1), (11, 0.7), (12, 0.7), (20, 0.0))
    ours = references(Piecewise(points=points), [0.0] * 30)
    assert ours == pytest.approx(np.interp(range(30), *zip(*points, strict=True)), abs=1e-15)


def test_annealed_by_hand():
    # 0.5·(1 − 0.1·done), done = (1 − cos(π/2))/2 = 0.5 halfway: 0.475; at the end 0.45
    annealed = Annealed(
        reference=Constant(value_nats=0.5), final_fraction=0.9, start_iteration=2, num_iterations=4
    )
    rs = references(annealed, [0.0] * 9)
    assert rs[:3] == [0.5, 0.5, 0.5]
    assert rs[4] == pytest.approx(0.475)
    assert rs[6:] == pytest.approx([0.45] * 3)


def test_annealed_keeps_the_state_of_what_it_wraps():
    annealed = Annealed(
        reference=InitialAnchored(fraction=1.0), final_fraction=0.5, start_iteration=0, num_iterations=1
    )
    assert references(annealed, [0.8, 0.1, 0.1]) == pytest.approx([0.8, 0.4, 0.4])


@pytest.mark.parametrize("reference", EXAMPLES, ids=repr)
@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.0, 12.0), min_size=1, max_size=15), st.integers(0, 20))
def test_reference_stays_within_its_bounds(reference, ys, first_iteration):
    low, high = reference.bounds()
    assert all(low - 1e-12 <= r <= high + 1e-12 for r in references(reference, ys, first_iteration))


@pytest.mark.parametrize("reference", EXAMPLES, ids=repr)
def test_state_survives_json(reference):
    telemetry = dict.fromkeys(reference.reads, 0.3)
    state, _ = reference.step(reference.init(), 0.7, 0, telemetry)
    read_back = restore(json.loads(json.dumps(state)))
    assert read_back == state
    again, after = (reference.step(each, 0.6, 1, telemetry) for each in (read_back, state))
    assert repr(again) == repr(after)
    assert type(again[0]) is type(after[0]) is type(reference.init())


def test_bounds_are_tight():
    assert Schedule(start_nats=0.9, end_nats=0.2, num_iterations=7).bounds() == (0.2, 0.9)
    assert EXAMPLES[5].bounds() == pytest.approx((0.45, 0.5))
    assert EXAMPLES[6].bounds() == pytest.approx((0.1, 1.0))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Constant(value_nats=-0.1), "value_nats must be >= 0 and finite, got -0.1"),
        (lambda: Constant(value_nats=nan), "value_nats must be >= 0 and finite, got nan"),
        (lambda: InitialAnchored(fraction=0.0), "fraction must be > 0 and finite, got 0.0"),
        (lambda: InitialAnchored(fraction=1.0, num_readings=0), "num_readings must be >= 1, got 0"),
        (lambda: Schedule(start_nats=-1.0, end_nats=1.0, num_iterations=3), "start_nats must be >= 0"),
        (lambda: Schedule(start_nats=1.0, end_nats=inf, num_iterations=3), "end_nats must be >= 0"),
        (
            lambda: Schedule(start_nats=1.0, end_nats=1.0, num_iterations=0),
            "num_iterations must be >= 1, got 0",
        ),
        (
            lambda: Schedule(start_nats=1.0, end_nats=1.0, num_iterations=3, start_iteration=-1),
            "start_iteration must be >= 0, got -1",
        ),
        (
            lambda: Schedule(start_nats=1.0, end_nats=1.0, num_iterations=3, shape="sudden"),
            "shape must be 'linear' or 'cosine', got 'sudden'",
        ),
        (lambda: Band(low_nats=-1.0, high_nats=0.1), "low_nats must be >= 0 and finite, got -1.0"),
        (lambda: Band(low_nats=0.2, high_nats=0.1), "high_nats must be >= low_nats = 0.2, got 0.1"),
        (
            lambda: ScheduledBand(start_nats=(0.7, 0.6), end_nats=(0.4, 0.5), num_iterations=3),
            "start_nats must be a lower edge >= 0 and a finite upper one that is not below it, got [0.7, 0.6]",
        ),
        (
            lambda: ScheduledBand(start_nats=(0.6, 0.7), end_nats=(0.4, inf), num_iterations=3),
            "end_nats must be a lower edge >= 0 and a finite upper one that is not below it, got [0.4, inf]",
        ),
        (
            lambda: ScheduledBand(start_nats=(0.6, 0.7), end_nats=(0.4, 0.5), num_iterations=0),
            "num_iterations must be >= 1, got 0",
        ),
        (
            lambda: Piecewise(points=((0, 0.5),)),
            "points must be at least two, got 1; one point is 'constant'",
        ),
        (lambda: Piecewise(points=((-1, 0.5), (2, 0.1))), "points must have iterations >= 0, got -1"),
        (
            lambda: Piecewise(points=((1, 0.5), (2, -0.1))),
            "points must have values >= 0 and finite, got -0.1 at iteration 2",
        ),
        (
            lambda: Piecewise(points=((2, 0.5), (2, 0.1))),
            "points must have ascending iterations, got 2 after 2",
        ),
        (
            lambda: Annealed(reference=Free(), final_fraction=0.0, start_iteration=0, num_iterations=1),
            "final_fraction must be > 0 and finite, got 0.0",
        ),
    ],
)
def test_refusals_name_field_rule_and_value(build, message):
    with pytest.raises(ValueError) as refusal:
        build()
    assert str(refusal.value).startswith(message)


def test_registry():
    assert set(REFERENCES) == {
        "none",
        "constant",
        "initial_anchored",
        "schedule",
        "band",
        "annealed",
        "cascade",
        "coverage",
        "scheduled_band",
        "piecewise",
    }
    assert all(cls.kind == kind for kind, cls in REFERENCES.items())
