from fractions import Fraction

import pytest

from tasks.math_equivalence import equivalent, plain_number, tidied


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", Fraction(5)),
        ("-0.50", Fraction(-1, 2)),
        (".25", Fraction(1, 4)),
        ("3.", Fraction(3)),
        ("1,000", Fraction(1000)),
        ("12,345,678.5", Fraction(24691357, 2)),
        ("3/4", Fraction(3, 4)),
        (r"\frac{6}{8}", Fraction(3, 4)),
        (r"-\frac{1}{2}", Fraction(-1, 2)),
        ("3,4", None),  # two numbers
        ("1/0", None),
        ("5%", None),
        ("٣", None),  # a digit, but none of ours
        ("9" * 41, None),
        ("1e9", None),
        ("", None),
    ],
)
def test_plain_numbers(text, value):
    assert plain_number(text) == value


@pytest.mark.parametrize(
    ("text", "tidy"),
    [
        (r" $\dfrac{1}{2}$ ", r"\frac{1}{2}"),
        (r"\left( 3, 4 \right)", "(3,4)"),
        (r"\text{Evelyn}", "Evelyn"),
        (r"\$18", "18"),
        ("1 000", "1 000"),  # may be two numbers
        ("x + y.", "x+y"),
    ],
)
def test_what_changes_no_meaning_is_taken_away(text, tidy):
    assert tidied(text) == tidy


@pytest.mark.parametrize(
    ("gold", "answer", "same"),
    [
        ("72", "72", True),
        ("72", "72.0", True),
        ("1000", "1,000", True),
        ("72", "73", False),
        ("1/3", "0.333", False),  # as numbers, exactly
        (r"\frac12", "0.5", True),
        (r"\frac{\sqrt{3}}{2}", r"\sqrt{3}/2", True),
        ("x^2+2x+1", "(x+1)^2", True),
        ("x^2+2x+1", "(x-1)^2", False),
        (r"\{1,2\}", "2,1", True),
        ("(1,2)", "(2,1)", False),
        ("90", r"90^\circ", True),
        ("12", r"12\text{ cm}", True),
        ("C", r"\text{(C)}", True),
        ("C", "D", False),
        ("5", "x=5", True),
        ("2^{2013}", "2^{2013}", True),
        ("6", "9^{9^{9^9}}", False),
        ("6", "(10^8)!", False),
        ("6", "\ud800", False),
        ("6", "", False),
    ],
)
def test_answers_are_the_same_or_not(gold, answer, same):
    assert equivalent(gold, answer) is same


@pytest.mark.parametrize(
    ("gold", "text", "same"),
    [
        ("5", "so x = 3 then 4 so 5", True),
        ("3", "so x = 3 then 4 so 5", False),  # the last expression is the answer
        ("5", "The answer is 5.", True),
        ("x^2", "we get $x^2$", True),
        ("6", "no idea", False),
    ],
)
def test_in_prose_the_last_expression_counts(gold, text, same):
    assert equivalent(gold, text, in_text=True) is same


def test_a_verdict_is_kept():
    equivalent("41", "a text that was never seen")
    before = equivalent.cache_info().hits
    equivalent("41", "a text that was never seen")
    assert equivalent.cache_info().hits == before + 1
