"""Laws that look at the sign of the error: the relay with three positions, and the command that doubles."""

from __future__ import annotations

from math import inf, nan

import pytest

from controllers.base import Sample
from controllers.laws.doubling import Doubling
from controllers.laws.relay import Relay
from controllers.loop import FeedbackLoop, replay
from controllers.parts.moving_references import ScheduledBand
from controllers.parts.references import Constant


def commands(law, errors):
    state, result = law.init(), []
    for t, e in enumerate(errors):
        state, terms = law.step(state, Sample(t=t, dt=1.0, y=1.0, r=1.0 + e, u=0.0))
        result.append(sum(terms.values()))
    return result


def test_a_relay_has_three_positions():
    assert commands(Relay(up=1.0, down=-0.5), [0.2, 0.0, -0.1, 1e-9]) == [1.0, 0.0, -0.5, 1.0]
    waiting = Relay(up=1.0, down=-0.5, middle=0.25, dead_band_nats=0.25)
    assert commands(waiting, [0.25, 0.5, -0.25, -0.5]) == [0.25, 1.0, 0.25, -0.5]


def test_a_relay_on_a_band_is_entrocraft():
    """Written down again: position by the edges of the iteration, [0.6, 0.7] to [0.4, 0.5] over 4 iterations."""
    entropies = [0.5, 0.65, 0.8, 0.62, 0.48, 0.55, 0.39, 0.51]
    expected = []
    for t, h in enumerate(entropies):
        low, high = 0.6 - 0.2 * min(t / 4, 1), 0.7 - 0.2 * min(t / 4, 1)
        expected.append(1.0 if h < low else -1.0 if h > high else 0.0)
    loop = FeedbackLoop(
        sensor="entropy",
        reference=ScheduledBand(start_nats=(0.6, 0.7), end_nats=(0.4, 0.5), num_iterations=4),
        law=Relay(up=1.0, down=-1.0),
        actuator="one_sided",
        low=-1.0,
        high=1.0,
        neutral=0.0,
    )
    assert [trace.u for trace in replay(loop, [{"entropy": h} for h in entropies])] == expected
    assert set(expected) == {-1.0, 0.0, 1.0}


def test_doubling_by_hand():
    law = Doubling(initial=0.02, smallest=0.01, largest=0.05)
    # up: 0.04, then at the largest; down: 0.025, 0.0125, and half of that is below the smallest: its negative; then
    # -0.02, and up again: half, which is the smallest, then its positive
    ups_and_downs = [1, 1, -1, -1, -1, -1, 0, 1, 1]
    expected = [0.04, 0.05, 0.025, 0.0125, -0.01, -0.02, -0.02, -0.01, 0.01]
    assert commands(law, ups_and_downs) == pytest.approx(expected)


def test_doubling_winds_up_beyond_no_limit_of_the_loop():
    """The loop lets 0.03 through on both sides: one move of the other sign halves that, whatever ``largest`` is."""
    loop = FeedbackLoop(
        sensor="entropy",
        reference=Constant(value_nats=0.5),
        law=Doubling(initial=0.01, smallest=0.005, largest=10.0),
        actuator="bonus",
        low=-0.03,
        high=0.03,
        neutral=0.0,
    )
    up, down = {"entropy": 0.4}, {"entropy": 0.6}
    us = [trace.u for trace in replay(loop, [up] * 8 + [down] * 10 + [up] * 2)]
    assert us[:8] == pytest.approx([0.02] + [0.03] * 7)
    # 0.03, 0.015, 0.0075, then its sign changes at the smallest
    assert us[8:18] == pytest.approx([0.015, 0.0075, -0.005, -0.01, -0.02] + [-0.03] * 5)
    assert us[18:] == pytest.approx([-0.015, -0.0075])


def test_doubling_winds_up_on_no_side_that_the_limits_cut_off():
    """Ten moves down end below 0, where the limits do: one up is the smallest, not half of half of what was wanted."""
    loop = FeedbackLoop(
        sensor="entropy",
        reference=Constant(value_nats=0.5),
        law=Doubling(initial=0.01, smallest=0.005, largest=10.0),
        actuator="bonus",
        low=0.0,
        high=1.0,
        neutral=0.0,
    )
    us = [trace.u for trace in replay(loop, [{"entropy": 0.6}] * 10 + [{"entropy": 0.4}] * 2)]
    assert us == pytest.approx([0.005] + [0.0] * 9 + [0.005, 0.01])


@pytest.mark.parametrize(
    ("u", "after"), [(0.02, 0.04), (0.001, 0.02), (-0.02, 0.08), (0.05, 0.08), (0.0, 0.08)]
)
def test_doubling_starts_from_what_was_let_through_of_it(u, after):
    """The memory is 0.04 and the smallest 0.01; another sign, more, or nothing at all says nothing about it."""
    law = Doubling(initial=0.04, smallest=0.01, largest=1.0)
    _, terms = law.step(law.init(), Sample(t=0, dt=1.0, y=1.0, r=2.0, u=u))
    assert terms["memory"] == pytest.approx(after)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Relay(up=inf, down=0.0), "up must be finite, got inf"),
        (lambda: Relay(up=1.0, down=0.5), r"middle must be in \[down, up\] = \[0.5, 1.0\], got 0.0"),
        (lambda: Relay(up=0.0, down=0.0), "up must be above down = 0.0, got 0.0"),
        (
            lambda: Relay(up=1.0, down=-1.0, dead_band_nats=nan),
            "dead_band_nats must be >= 0 and finite, got nan",
        ),
        (
            lambda: Doubling(initial=0.1, smallest=0.0, largest=1.0),
            "smallest must be > 0 and finite, got 0.0",
        ),
        (lambda: Doubling(initial=0.1, smallest=0.1, largest=0.01), "largest must be >= smallest = 0.1"),
        (
            lambda: Doubling(initial=0.0, smallest=0.1, largest=1.0),
            r"initial must have a size in .*, got 0.0",
        ),
        (
            lambda: Doubling(initial=0.1, smallest=0.1, largest=1.0, factor=1.0),
            "factor must be > 1 and finite",
        ),
    ],
)
def test_gains_are_guarded(build, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        build()
