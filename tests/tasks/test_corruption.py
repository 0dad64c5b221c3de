from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.corruption import alphabet_of, corrupt, corrupt_text


@given(text=st.text(), chance=st.integers())
def test_without_errors_the_text_is_untouched(text, chance):
    assert corrupt_text(text, Random(chance), 0.0) == text


@given(text=st.text(alphabet="0123456789,;"), chance=st.integers())
def test_at_rate_one_every_symbol_is_another_symbol_and_the_rest_stays(text, chance):
    wrong = corrupt(text, "0123456789", Random(chance), 1.0)
    assert len(wrong) == len(text)
    for before, after in zip(text, wrong, strict=True):
        assert after == before if before in ",;" else after != before and after.isdigit()


@given(text=st.text(), chance=st.integers(), error_rate=st.floats(0, 1))
def test_slips_stay_within_the_alphabet_of_the_text(text, chance, error_rate):
    assert set(corrupt_text(text, Random(chance), error_rate)) <= set(alphabet_of([text]))


def test_other_symbols_are_equally_likely():
    rng = Random(0)
    slips = [corrupt("a", "abc", rng, 1.0) for _ in range(2000)]
    assert abs(slips.count("b") / 2000 - 0.5) < 0.05


def test_a_lone_symbol_has_nothing_to_become():
    assert corrupt("+++", "+", Random(0), 1.0) == "+++"


@pytest.mark.parametrize("error_rate", [-0.1, 1.1, float("nan")])
def test_the_rate_is_a_probability(error_rate):
    with pytest.raises(ValueError, match=f"error_rate must be between 0 and 1, got {error_rate}"):
        corrupt("1", "12", Random(0), error_rate)
