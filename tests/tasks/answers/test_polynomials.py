from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.answers.polynomials import MAX_DEPTH, MAX_LENGTH, derivative, polynomial

X, C = (("X", 1),), (("C", 1),)


def power(exponent):
    return (("X", exponent),)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", {}),
        ("2.50", {(): Fraction(5, 2)}),
        ("X", {X: 1}),
        ("-5*X**9 - 2*X**6/3 + C", {power(9): -5, power(6): Fraction(-2, 3), C: 1}),
        ("X - X", {}),
        ("-X**2", {power(2): -1}),  # the sign binds last: -(X²)
        ("(-X)**2", {power(2): 1}),
        ("X**2**3", {power(8): 1}),  # from the right: X**(2**3)
        ("2*-X", {X: -2}),
        ("--X", {X: 1}),
        ("(X + 1)*(X - 1)", {power(2): 1, (): -1}),
        ("(X + C)**2", {power(2): 1, (("C", 1), ("X", 1)): 2, (("C", 2),): 1}),
        ("X/2/3", {X: Fraction(1, 6)}),
        ("X**0", {(): 1}),
        ("X/(1/2)", {X: 2}),
        (" X\n+\t1 ", {X: 1, (): 1}),
    ],
)
def test_hand_worked_polynomials(text, value):
    assert polynomial(text) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs a number or a name, got 'its end'"),
        ("X+", "needs a number or a name, got 'its end'"),
        ("2X", "must end, got 'X'"),
        ("X^2", r"holds '\^'"),
        ("X(2)", r"must end, got '\('"),
        ("exp(X)", r"must end, got '\('"),
        ("(X", "must close its parentheses"),
        ("1/X", "must divide by a number"),
        ("1/(X-X)", "must divide by a number that is not zero"),
        ("X**X", "must have as exponent a number"),
        ("X**-1", "whole exponents from 0 to 100"),
        ("X**(1/2)", "whole exponents from 0 to 100"),
        ("X**101", "whole exponents from 0 to 100"),
        ("(X**60)*(X**60)", "degree of at most 100"),
        ("((9**99)**99)**99", "coefficients of at most 2000 bits"),
        ("(a+b+c+d+e+f+g)**9", "at most 200 terms"),
        ("9" * 31, "at most 30 digits, got 31"),
        ("1+" * 600, f"at most {MAX_LENGTH} characters, got 1200"),
        ("(" * 20 + "1" + ")" * 20, f"at most {MAX_DEPTH} deep"),
        ("2" + "**2" * 30, f"at most {MAX_DEPTH} deep"),
        ("X.real", r"holds '\.'"),
        ("__import__('os')", "holds '_'"),
        ("ｅｖａｌ", "holds 'ｅ'"),
        ("٣", "holds '٣'"),
        ("1e9", "must end, got 'e9'"),
        ("X\x00", r"holds '\\x00'"),
        ("nan*", "needs a number or a name"),
    ],
)
def test_what_is_no_polynomial_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        polynomial(text)


def test_derivatives():
    assert derivative(polynomial("X**3 - X**2/2 + 7*X + C"), "X") == polynomial("3*X**2 - X + 7")
    assert derivative(polynomial("C*X"), "X") == polynomial("C")
    assert derivative(polynomial("C + 1"), "X") == {}


COEFFICIENTS = st.lists(st.fractions(-9, 9, max_denominator=9), min_size=1, max_size=4)


@given(coefficients=COEFFICIENTS, other=COEFFICIENTS)
def test_a_product_is_worth_the_product_of_the_values(coefficients, other):
    one, two = (
        "+".join(f"({c.numerator}/{c.denominator})*x**{i}" for i, c in enumerate(values))
        for values in (coefficients, other)
    )
    at = Fraction(3, 2)

    def value(text):
        return sum(c * at ** dict(monomial).get("x", 0) for monomial, c in polynomial(text).items())

    expected = [sum(c * at**i for i, c in enumerate(values)) for values in (coefficients, other)]
    assert [value(one), value(two)] == expected
    assert value(f"({one})*({two})") == expected[0] * expected[1]
