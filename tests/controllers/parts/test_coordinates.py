from math import isfinite, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.parts.coordinates import COORDINATES, error_in

nats = st.floats(0.0, 12.0)


def test_by_hand():
    assert error_in("absolute", r=0.5, y=0.2) == pytest.approx(0.3)
    assert error_in("relative", r=0.5, y=0.2) == pytest.approx(0.6)  # 0.3 / 0.5
    assert error_in("log", r=0.5, y=0.25) == pytest.approx(log(2))
    assert error_in("log", r=0.25, y=0.5) == pytest.approx(-log(2))


@pytest.mark.parametrize("coordinates", COORDINATES)
@settings(max_examples=50, deadline=None)
@given(nats, nats)
def test_sign_is_that_of_the_plain_error_and_collapse_is_finite(coordinates, r, y):
    e = error_in(coordinates, r=r, y=y)
    assert isfinite(e)
    assert e * (r - y) >= 0
    if abs(r - y) > 1e-3:
        assert e * (r - y) > 0


@pytest.mark.parametrize("coordinates", ["relative", "log"])
def test_ratios_do_not_depend_on_the_unit(coordinates):
    bits = 1.4426950408889634
    assert error_in(coordinates, r=0.5, y=0.2) == pytest.approx(
        error_in(coordinates, r=0.5 * bits, y=0.2 * bits)
    )
