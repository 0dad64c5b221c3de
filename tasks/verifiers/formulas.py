"""Answers that are formulas: sums, antiderivatives and logical conclusions, each by a reader of our own."""

from __future__ import annotations

from fractions import Fraction
from functools import reduce
from operator import and_

from tasks.answers.expressions import evaluate
from tasks.answers.polynomials import derivative, polynomial
from tasks.answers.propositions import is_variable, truth_table
from tasks.verifiers.grammars import Facts

TWENTY_FOUR = 24
CONSTANTS = frozenset("CcKk")


def sum_to_target(answer: str, gold: str, facts: Facts) -> bool:
    """A sum of all the given numbers, each used once, that is worth the target."""
    return _is_sum(answer, facts["numbers"], facts["target"])


def sum_to_24(answer: str, gold: str, facts: Facts) -> bool:
    """A sum of the four given numbers that is worth 24: the library takes any four numbers."""
    return _is_sum(answer, facts["numbers"], TWENTY_FOUR)


def _is_sum(answer: str, numbers: list[int], target: int) -> bool:
    try:
        value, used = evaluate(" ".join(answer.split()), signed=True)
    except ValueError:
        return False
    return value == Fraction(target) and sorted(used) == sorted(numbers)


def antiderivative(answer: str, gold: str, facts: Facts) -> bool:
    """A polynomial whose derivative is the integrand, with a constant, C or K, or without."""
    variable = facts["variable"]
    try:
        value, integrand = polynomial(answer), polynomial(facts["integrand"])
    except ValueError:
        return False
    names = {name for monomial in value for name, _ in monomial}
    return names <= {variable, *CONSTANTS} and derivative(value, variable) == integrand


def valid_conclusion(answer: str, gold: str, facts: Facts) -> bool:
    """A statement that the premises imply, and that says more than nothing: no tautology, no bare letter."""
    names = sorted(facts["variables"])
    everywhere = 2 ** (2 ** len(names)) - 1
    try:
        conclusion, *premises = [truth_table(text, names) for text in (answer, *facts["premises"])]
    except ValueError:
        return False
    if conclusion == everywhere or is_variable(answer):
        return False
    return bool(reduce(and_, premises, everywhere) & ~conclusion == 0)
