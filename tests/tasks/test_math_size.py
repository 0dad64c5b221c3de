import pytest

from tasks.math_size import is_tame


@pytest.mark.parametrize(
    "text",
    [
        "42",
        "-1/2",
        r"\frac{\sqrt{3}}{2}",
        "x^2+2x+1",
        "2^{2013}",
        "x^{100} + 1",
        r"2^{\frac{4}{2}}",
        r"e^{\frac{i\pi}{4}}",
        "5!",
        "1000!",
        "a != b",
        "(x+1)^{64}",
        "2^",
        "2^{",
    ],
)
def test_answers_as_contests_have_them_are_tame(text):
    assert is_tame(text)


@pytest.mark.parametrize(
    "text",
    [
        "9^{9^{9^9}}",
        "9^9^9",
        "9**9**9",
        "9^9**9",
        "2^{10^10}",
        "2^(3^4)",
        "2^{5!}",
        "2^{4097}",
        "2^{100} + 3^{100}",
        "(x+1)^{65}",
        "(10^8)!",
        "5!!",
        "1001!",
        "99999999!",
        "9" * 41,
        r"\binom{100000000}{5000000}",
        r"\sum_{k=1}^{10000000} k",
        r"\int_0^1 e^{x^2} dx",
        "(" * 17,
        "x" * 257,
    ],
)
def test_what_sympy_could_hang_on_is_not(text):
    assert not is_tame(text)


@pytest.mark.parametrize("text", ["^" * 256, "^{" * 128, "2^" * 128, "!" * 256, "{" * 256, "1!" * 127 + "!"])
@pytest.mark.timeout(60)
def test_spam_is_refused_and_not_searched_for_ever(text):
    assert not is_tame(text)
