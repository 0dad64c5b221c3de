import re
import sys
from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.answers.expressions import MAX_DEPTH, MAX_LENGTH, evaluate


@pytest.mark.parametrize(
    ("text", "value", "numbers"),
    [
        ("7", 7, [7]),
        ("2*3+7", 13, [2, 3, 7]),
        ("2+3*7", 23, [2, 3, 7]),
        ("(2+3)*7", 35, [2, 3, 7]),
        ("9-4-3", 2, [9, 4, 3]),  # from the left: (9 - 4) - 3
        ("9-(4-3)", 8, [9, 4, 3]),
        ("8/4/2", 1, [8, 4, 2]),
        ("8/3", Fraction(8, 3), [8, 3]),
        ("8/(3-8/3)", 24, [8, 3, 8, 3]),
        ("1-2", -1, [1, 2]),
        ("0*5", 0, [0, 5]),
        (" ( 2 + 3 ) * 7 ", 35, [2, 3, 7]),
        ("((((5))))", 5, [5]),
    ],
)
def test_hand_worked_values(text, value, numbers):
    assert evaluate(text) == (value, numbers)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expression needs a number, got 'its end'"),
        ("2+", "expression needs a number, got 'its end'"),
        ("-2", "expression needs a number, got '-'"),
        ("2+-3", "expression needs a number, got '-'"),
        ("9**9**9", r"expression needs a number, got '\*'"),
        ("9//2", "expression needs a number, got '/'"),
        ("()", r"expression needs a number, got '\)'"),
        ("(2+3", "expression must close its parentheses"),
        ("2+3)", r"expression must end, got '\)'"),
        ("2(3)", r"expression must end, got '\('"),
        ("2 3", "expression must end, got '3'"),
        ("07", "expression must end, got '7'"),
        ("1/0", "expression must not divide by zero"),
        ("1/(2-2)", "expression must not divide by zero"),
        ("2.5", r"expression holds '\.'"),
        ("1e9", "expression holds 'e'"),
        ("2+3=5", "expression holds '='"),
        ("2+3\n", r"expression holds '\\n'"),
        ("9^9", r"expression holds '\^'"),
        ("9!", "expression holds '!'"),
        ("__import__('os')", "expression holds '_'"),
        ("٣+٤", "expression holds '٣'"),
        ("²", "expression holds '²'"),
        ("2×3", "expression holds '×'"),
        ("1234567890", "expression must have numbers of at most 9 digits, got 10"),
        ("9" * 200, "expression must have numbers of at most 9 digits, got 200"),
        ("1+" * 200 + "1", f"expression must have at most {MAX_LENGTH} characters, got 401"),
        ("(" * 100 + "1" + ")" * 100, f"expression must be at most {MAX_DEPTH} parentheses deep"),
        ("(" * 256, f"expression must be at most {MAX_DEPTH} parentheses deep"),
        ("(" * 10**6, f"expression must have at most {MAX_LENGTH} characters"),
        (" " * 10**6, f"expression must have at most {MAX_LENGTH} characters"),
        ("2+3\x00", r"expression holds '\\x00'"),
        ("2+3\ud800", "expression holds"),
    ],
)
def test_malformed_and_hostile_text_is_refused_after_few_steps(text, message):
    def refused():
        with pytest.raises(ValueError, match=message):
            evaluate(text)

    assert num_calls(refused) < MAX_CALLS


@pytest.mark.parametrize("text", ["999999999*" * 25, "1/999999999*" * 21, "1/999999999+" * 21, "1+" * 128])
def test_the_costliest_text_within_the_limits_takes_few_steps_on_small_numbers(text):
    assert num_calls(lambda: evaluate(text[:-1])) < MAX_CALLS
    value = evaluate(text[:-1]).value
    assert max(value.numerator.bit_length(), value.denominator.bit_length()) < 30 * 25  # 10^9 < 2^30


@pytest.mark.parametrize(
    ("text", "value", "numbers"),
    [
        ("-2", -2, [2]),
        ("-1 + 72*(89 - 77)/1", 863, [1, 72, 89, 77, 1]),
        ("3*-2", -6, [3, 2]),
        ("-(2+3)*2", -10, [2, 3, 2]),
        ("2--3", 5, [2, 3]),
        ("+-+2", -2, [2]),
    ],
)
def test_signs_are_read_where_they_are_asked_for(text, value, numbers):
    assert evaluate(text, signed=True) == (value, numbers)
    with pytest.raises(ValueError, match="expression needs a number, got"):
        evaluate(text)


def num_calls(function):
    """Calls and returns of Python and C functions while it runs: the same on any machine under any load."""
    count = 0

    def note(*_):
        nonlocal count
        count += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


MAX_CALLS = 20_000  # 50 a character

TREES = st.recursive(
    st.integers(0, 999),
    lambda children: st.tuples(children, st.sampled_from("+-*/"), children),
    max_leaves=12,
)


def text_of(tree):
    return str(tree) if isinstance(tree, int) else f"({text_of(tree[0])}{tree[1]}{text_of(tree[2])})"


def leaves_of(tree):
    return [tree] if isinstance(tree, int) else leaves_of(tree[0]) + leaves_of(tree[2])


def value_of(tree):
    if isinstance(tree, int):
        return Fraction(tree)
    left, sign, right = value_of(tree[0]), tree[1], value_of(tree[2])
    return {"+": left.__add__, "-": left.__sub__, "*": left.__mul__, "/": left.__truediv__}[sign](right)


@given(tree=TREES)
def test_random_trees_agree_with_fractions(tree):
    try:
        expected = value_of(tree)
    except ZeroDivisionError:
        with pytest.raises(ValueError, match="divide by zero"):
            evaluate(text_of(tree))
    else:
        assert evaluate(text_of(tree)) == (expected, leaves_of(tree))


@given(text=st.text(alphabet="0123456789+-*/() ", max_size=40))
def test_what_is_accepted_means_what_it_means_in_python(text):
    try:
        value = evaluate(text).value
    except ValueError:
        return
    exact = "".join(f"Fraction({part})" if part.isdigit() else part for part in split_numbers(text))
    assert eval(exact.strip(), {"Fraction": Fraction}) == value


def split_numbers(text):

    return re.findall(r"[0-9]+|[^0-9]", text)


@given(text=st.text(max_size=300))
def test_nothing_but_a_value_error_ever_comes_out(text):
    with suppress(ValueError):
        evaluate(text)
