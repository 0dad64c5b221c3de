"""Dithers: known movements with known spectra, the same at every resumption, another in every run."""

import numpy as np
import pytest

from controllers.parts.dither import DITHERS, PRBS, Multisine

EXAMPLES = [PRBS(amplitude=0.3), Multisine(amplitude=0.3)]
KINDS = [dither.kind for dither in EXAMPLES]


def signal(dither, num):
    return np.array([dither.value(t) for t in range(num)])


def test_every_kind_has_an_example():
    assert list(DITHERS) == KINDS


def test_a_register_of_three_bits_by_hand():
    """a₀ a₁ a₂ = 1 0 0 and aₙ₊₃ = aₙ₊₂ xor aₙ: 1 0 0 1 1 1 0, each level held for two iterations."""
    expected = np.repeat([0.5 if bit else -0.5 for bit in (1, 0, 0, 1, 1, 1, 0)], 2)
    assert signal(PRBS(amplitude=0.5, bits=3, hold=2), 28).tolist() == [*expected, *expected]


def test_a_prbs_has_a_flat_spectrum_and_almost_no_mean():
    """Autocorrelation of a maximum-length sequence: 1 at lag 0, −1/N at every other."""
    seen = signal(PRBS(amplitude=1.0, bits=6, hold=1), 63)
    correlation = [float(np.mean(seen * np.roll(seen, lag))) for lag in range(63)]
    assert correlation == pytest.approx([1.0, *[-1 / 63] * 62])
    assert abs(seen.mean()) == pytest.approx(1 / 63)


def test_a_multisine_has_its_power_in_its_band():
    seen = signal(Multisine(amplitude=1.0, shortest_period=8, longest_period=64), 64)
    power = np.abs(np.fft.rfft(seen)) ** 2
    assert power[1:9] == pytest.approx(power[1])  # periods 64 to 8
    assert np.delete(power, range(1, 9)).max() < 1e-20 * power[1] * 64**2
    assert np.abs(seen).max() <= 1.0


@pytest.mark.parametrize("dither", EXAMPLES, ids=KINDS)
def test_it_stays_within_its_amplitude_and_comes_near_it(dither):
    largest = np.abs(signal(dither, 600)).max()
    assert 0.25 < largest <= 0.3 + 1e-12


@pytest.mark.parametrize(
    "dither", [PRBS(amplitude=0.3, start=7), Multisine(amplitude=0.3, start=7)], ids=KINDS
)
def test_before_its_start_there_is_none(dither):
    early = type(dither)(amplitude=0.3)
    assert not signal(dither, 7).any()
    assert np.array_equal(signal(dither, 100)[7:], signal(early, 93))


@pytest.mark.parametrize("dither", EXAMPLES, ids=KINDS)
def test_every_run_begins_at_another_place_of_the_same_movement(dither):
    """Runs together are what a dither is for: alike they would be one long look at the same moment."""
    period = 126 if dither.kind == "prbs" else 64
    runs = np.array([signal(dither.of_run(seed), period) for seed in range(5)])
    correlation = np.corrcoef(runs)[np.triu_indices(5, 1)]
    assert np.abs(correlation).max() < 0.6
    assert dither.of_run(0) == dither
    power = np.abs(np.fft.rfft(runs)) ** 2
    assert power[1:] == pytest.approx(np.broadcast_to(power[0], power[1:].shape), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PRBS(amplitude=0.0), "amplitude must be > 0"),
        (lambda: PRBS(amplitude=0.1, hold=0), "hold must be >= 1, got 0"),
        (lambda: PRBS(amplitude=0.1, bits=2), r"bits must be in \[3, 16\], got 2"),
        (lambda: PRBS(amplitude=0.1, seed=64), r"seed must be in \[1, 2\^bits - 1\] = \[1, 63\], got 64"),
        (lambda: PRBS(amplitude=0.1, start=-1), "start must be >= 0, got -1"),
        (lambda: Multisine(amplitude=0.1, shortest_period=2), "shortest_period must be > 2"),
        (lambda: Multisine(amplitude=0.1, longest_period=3), "longest_period must be >= shortest_period = 4"),
        (lambda: Multisine(amplitude=0.1, shift=-1), "shift must be >= 0"),
    ],
)
def test_what_makes_no_dither_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
