"""Nothing is multiplied out, so the work of grading is bounded; counted here in function calls, never timed."""

import sys

import pytest

from tasks.mathematics.equivalence import equivalent
from tasks.mathematics.exact import exact
from tasks.mathematics.parser import term_of
from tasks.mathematics.size import MAX_BITS, is_tame
from tasks.mathematics.tokens import tokens_of

MAX_CALLS = 250_000
"""A small part of a second; a set of 16 different powers takes most."""

HOSTILE = [
    "9^{9^{9^9}}",
    "9^9^9",
    "9**9**9",
    "2^{10^10}",
    "(10^8)!",
    "(10^7)!",
    "5!!",
    "3" + "!" * 200,
    "((x!)!)!",
    "1000!^{1000!}",
    "(1.5^{1000})!",
    r"\binom{100000000}{5000000}",
    r"\binom{10^7}{5000000}",
    r"\Gamma(10^8)",
    r"\Gamma(9999999.5)",
    r"\zeta(10^9)",
    r"\gamma(10^{50})",
    r"(a+b+c+d+e)^{64}",
    r"(a+b+c+d+e)^{4096} - (a+b+c+d+f)^{4096}",
    r"\cos(4096x)",
    r"\sin(10^{30}x)",
    r"\sin(10^{1000000})",
    r"\cos(64x)\cos(63x)\cos(62x)\cos(61x)",
    r"\tan(\frac{\pi}{2})",
    "10^{1000000}",
    "1e999999999",
    "0^{-1}",
    "1/0",
    r"\ln 0",
    "e^{e^{e^{e^{e}}}}",
    "*".join(f"(x+{number})^{{99}}" for number in range(3, 25)),
    "+".join(f"{number}^{{3000}}" for number in range(3, 30)),
    "+".join(f"1/{number}^{{3000}}" for number in range(3, 30)),
    r"\sum_{k=1}^{10000000} k",
    r"\prod_{k=1}^{10^9} k",
    r"\int_0^1 e^{x^2} dx",
    r"\lim_{x \to 0} \frac{\sin x}{x^{99}}",
    r"\begin{vmatrix}" + "x&" * 100 + r"\end{vmatrix}",
    r"\begin{pmatrix}1&1\\1&0\end{pmatrix}^{1000000}",
    "(" * 17,
    "(" * 200,
    "-" * 250 + "1",
    "x^" * 100 + "2",
    r"\sqrt" * 40 + "2",
    r"\sin" * 60 + "2",
    r"1\frac{" * 15 + "1" + "}{1}" * 15,
    "|x" * 100,
    r"\frac1" * 40,
    r"\{" + ",".join(f"x^{power}" for power in range(16)) + r"\}",
    ",".join(f"x{index}" for index in range(60)),
    "x" * 257,
    "9" * 41,
    "^" * 256,
    "2^" * 128,
    "!" * 256,
    "{" * 256,
]
GOLDS = ["6", "x", "(1,2)", r"\{" + ",".join(f"y^{power}" for power in range(16)) + r"\}"]


def num_calls(function):
    """Calls of functions, Python's and C's, that a call makes."""
    count = 0

    def counted(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


@pytest.fixture(scope="module", autouse=True)
def imported():
    equivalent(r"\sqrt{2}x", r"\frac{2x}{\sqrt{2}}")


@pytest.mark.parametrize("answer", HOSTILE)
def test_what_could_be_large_is_wrong_after_bounded_work(answer):
    verdicts = []
    calls = num_calls(lambda: verdicts.extend(equivalent(gold, answer) for gold in GOLDS))
    assert not any(verdicts)
    assert calls < MAX_CALLS


@pytest.mark.parametrize(
    "answer",
    ["9^{9^{9^9}}", r"\Gamma(10^8)", "(a+b+c+d+e)^{64}", r"\cos(4096x)", r"\int_0^1 e^{x^2} dx", "2^{2013}"],
)
def test_what_is_written_as_the_answer_is_right_however_large(answer):
    assert equivalent(answer, f" {answer} ")


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("2^{2013}", 2014),
        ("1000!", 8530),
        (r"\binom{2000}{1000}", 1995),
        ("2^{20000}", None),
        ("2001!", None),
    ],
)
def test_rational_values_are_kept_exactly_up_to_a_size(text, bits):
    value = exact(term_of(tokens_of(text, thousands=False)))
    assert (None if value is None else value.numerator.bit_length()) == bits
    assert bits is None or bits <= MAX_BITS


@pytest.mark.parametrize(
    "text", ["42", r"\frac{\sqrt{3}}{2}", "(x+1)^{64}", "2^", "9" * 40, "(" * 16, "x" * 256]
)
def test_answers_of_an_ordinary_size_are_looked_into(text):
    assert is_tame(text)


@pytest.mark.parametrize("text", ["9" * 41, "(" * 17, "x" * 257, "{" * 256, r"\sqrt{" * 17])
def test_others_are_not(text):
    assert not is_tame(text)
