from math import e, isfinite, log

import pytest

from controllers.base import Sample
from controllers.laws.log_ratio import LogRatio


def command(*, y, r, u, vocabulary_size=151_936):
    _, terms = LogRatio(vocabulary_size=vocabulary_size).step((), Sample(t=0, dt=1.0, y=y, r=r, u=u))
    return sum(terms.values())


def test_by_hand():
    # V = 1000: ln V = 6.907755, ln ln V = 1.932645, sum 8.840400; 0.8·(1 + 0.8·ln 2 / 8.8404) = 0.850181
    assert command(y=0.1, r=0.2, u=0.8, vocabulary_size=1000) == pytest.approx(0.850181, abs=1e-6)
    # e-fold too high, V = 3: 1 − 1/(ln 3 + ln ln 3)
    too_high = command(y=e * 0.2, r=0.2, u=1.0, vocabulary_size=3)
    assert too_high == pytest.approx(1 - 1 / (log(3) + log(log(3))))


def test_at_the_reference_it_rests():
    assert command(y=0.2, r=0.2, u=0.8) == 0.8


def test_extremes_do_not_raise():
    assert isfinite(command(y=0.0, r=0.2, u=1.0))
    assert not isfinite(command(y=0.0, r=0.2, u=1e300))


def test_refusal():
    with pytest.raises(ValueError, match=r"^vocabulary_size must be >= 3, got 2$"):
        LogRatio(vocabulary_size=2)
