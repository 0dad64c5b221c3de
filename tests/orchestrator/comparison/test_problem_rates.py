"""Pass rates over problems, by hand and by independent formulas."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from orchestrator.comparison.problem_rates import rate


def test_right_or_wrong_is_wilson():
    found = rate([1.0] * 30 + [0.0] * 70)
    z, n, p = 1.959964, 100, 0.3
    middle, half = p + z**2 / (2 * n), z * sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert found.value == pytest.approx(0.3)
    assert found.low == pytest.approx((middle - half) / (1 + z**2 / n), abs=1e-6)
    assert found.high == pytest.approx((middle + half) / (1 + z**2 / n), abs=1e-6)


def test_nothing_right_is_no_certainty():
    z2 = 1.959964**2
    found = rate([0.0] * 20)
    assert (found.value, found.low) == (0.0, pytest.approx(0.0))
    assert found.high == pytest.approx(z2 / (20 + z2), abs=1e-6)


def test_shares_have_the_interval_of_a_mean():
    values = np.random.default_rng(0).choice([0.0, 0.25, 0.5, 1.0], size=400)
    found, error = rate(values.tolist()), values.std(ddof=1) / sqrt(values.size)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.3 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.3 * error)


def test_few_shares_stay_within_their_range():
    found = rate([0.0, 0.25])  # Student's t of two values reaches far beyond
    assert (found.low, found.high) == (0.0, 1.0)
    assert (rate([0.5]).low, rate([0.5]).high) == (0.0, 1.0)
