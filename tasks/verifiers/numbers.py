"""Answers that are numbers, compared by exact value: ``nan`` equals nothing and a prefix is no answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

from tasks.verifiers.grammars import Facts, integer, number, ratio
from tasks.verifiers.text import same_rows

COARSEST = Fraction(1, 20)
"""No tolerance is wider than this share of the value, or 0 would be right for whatever is small."""

_HEXADECIMAL = re.compile(r"([+-]?)0x([0-9a-f]{1,4000})")
_DECIMAL = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"
_COMPLEX = re.compile(
    rf"(?:(?P<real>[+-]?(?:{_DECIMAL}))(?![0-9.ij]))?(?:(?P<sign>[+-]?)(?P<imaginary>{_DECIMAL})?(?P<unit>[ij]))?"
)
_TEX_FRACTION = re.compile(r"\\d?frac *\{ *([0-9]{1,99}) *\} *\{ *([0-9]{1,99}) *\}")
_THREE_DIGITS = Context(prec=3, rounding=ROUND_HALF_EVEN)


def same_decimal(answer: str, gold: str, facts: Facts) -> bool:
    """The same value, however many zeros stand at its ends."""
    value = number(answer)
    return same_rows(answer, gold, facts) or (value is not None and value == number(gold))


def same_grouped_decimal(answer: str, gold: str, facts: Facts) -> bool:
    """The same value; commas may stand where they part thousands, and nowhere else."""
    value = number(answer, grouped=True)
    return same_rows(answer, gold, facts) or (value is not None and value == number(gold))


def same_integer(answer: str, gold: str, facts: Facts) -> bool:
    """The same whole number."""
    value = integer(answer)
    return value is not None and value == integer(gold)


def same_amount(answer: str, gold: str, facts: Facts) -> bool:
    """The same value and nothing else but a sign of currency: the question asks for no units."""
    return same_decimal(answer.strip().lstrip("$£€"), gold, facts)


def same_hexadecimal(answer: str, gold: str, facts: Facts) -> bool:
    """The same whole number, in base 16 or 10."""
    value = _based_integer(answer)
    return value is not None and value == _based_integer(gold)


def _based_integer(text: str) -> int | None:
    match = _HEXADECIMAL.fullmatch(text.strip().lower())
    return int(match[1] + match[2], 16) if match else integer(text)


def same_day_or_count(answer: str, gold: str, facts: Facts) -> bool:
    """A whole number by its value, yes or no in any case, the name of a day to the letter."""
    if integer(gold) is not None:
        return same_integer(answer, gold, facts)
    if gold in ("Yes", "No"):
        return answer.strip().lower() == gold.lower()
    return answer.strip() == gold


def near_decimal(answer: str, gold: str, facts: Facts) -> bool:
    """As near as one unit of the last decimal place that the dataset's numbers have."""
    value, right = number(answer), number(gold)
    if value is None or right is None:
        return False
    return _is_near(value, right, Fraction(1, 10 ** facts["difficulty"]["decimal_places"][1]))


def near_probability(answer: str, gold: str, facts: Facts) -> bool:
    """A probability to 1e-4, as a decimal or a fraction; 0 and 1 are for what is impossible or sure."""
    value = ratio(answer)
    right = Fraction(facts["rational"]["numerator"], facts["rational"]["denominator"])
    tolerance = Fraction(1, 10_000)
    return (
        value is not None and _is_near(value, right, tolerance) and _is_near(1 - value, 1 - right, tolerance)
    )


def _is_near(value: Fraction, right: Fraction, tolerance: Fraction) -> bool:
    return abs(value - right) <= min(tolerance, COARSEST * abs(right))


def three_significant_digits(answer: str, gold: str, facts: Facts) -> bool:
    """The same value once both are rounded to three digits."""
    values = [_three_digits(text) for text in (answer, gold)]
    return values[0] is not None and values[0] == values[1]


def _three_digits(text: str) -> Decimal | None:
    return None if number(text) is None else _THREE_DIGITS.create_decimal(text.strip())


def nearest_candidate(answer: str, gold: str, facts: Facts) -> bool:
    """Within 0.01 of the right candidate, and nearer to it than to any other."""
    value = number(answer, grouped=True)
    if value is None:
        return False
    right = Fraction(facts["solution"])
    others = [Fraction(candidate) for candidate in facts["candidates"] if candidate != facts["solution"]]
    distance = abs(value - right)
    return distance < Fraction(1, 100) and all(distance < abs(value - other) for other in others)


def same_complex_number(answer: str, gold: str, facts: Facts) -> bool:
    """The same real and the same imaginary part: ``3 + 2i``, ``-i``, ``4.00``."""
    text = "".join(answer.lower().split())
    while text[:1] == "(" and text[-1:] == ")":
        text = text[1:-1]
    match = _COMPLEX.fullmatch(text)
    if not text or match is None:
        return False
    imaginary = (match["sign"] or "") + (match["imaginary"] or "1") if match["unit"] else "0"
    return (number(match["real"] or "0"), number(imaginary)) == tuple(facts["result"])


def simplified_fraction(answer: str, gold: str, facts: Facts) -> bool:
    r"""The numerator and denominator in lowest terms, as ``3/4`` or ``\frac{3}{4}``, in dollars or not."""
    text = answer.strip().strip("$").strip()
    match = _TEX_FRACTION.fullmatch(text)
    parts = match.groups() if match else text.split("/")
    return [integer(part) for part in parts] == [
        facts["simplified_numerator"],
        facts["simplified_denominator"],
    ]


def prime_factors(answer: str, gold: str, facts: Facts) -> bool:
    """The factors in any order, with × between."""
    factors = [integer(part) for part in answer.split("×")]
    return sorted(factor or 0 for factor in factors) == sorted(facts["factors"])


def all_roots(answer: str, gold: str, facts: Facts) -> bool:
    """Every real root once and nothing else, to four decimals, rounded or cut; nothing where there is none."""
    right = [number(part) or Fraction(0) for part in gold.split(",")] if gold else []
    if not right:
        return answer.strip() in ("", '""')
    values = [number(part) for part in answer.split(",")]
    return _are_within(values, right, Fraction(1, 10_000))


def _are_within(values: Sequence[Fraction | None], right: Sequence[Fraction], tolerance: Fraction) -> bool:
    found = sorted(value for value in values if value is not None)
    return len(found) == len(values) == len(right) and all(
        abs(value - other) <= tolerance for value, other in zip(found, sorted(right), strict=True)
    )


def geometric_measure(answer: str, gold: str, facts: Facts) -> bool:
    """An angle to two decimals, with its ° or without; a point to three; a radius as it is written."""
    if facts["task_type"] == "angle_measure":
        return _are_rounded_the_same([answer.replace("°", "")], [gold.replace("°", "")], places=2)
    if facts["task_type"] == "orthocenter":
        text = answer.strip()
        text = text[1:-1] if text[:1] == "(" and text[-1:] == ")" else text
        return _are_rounded_the_same(text.split(","), list(facts["ortho"]), places=3)
    return same_rows(answer, gold, facts)


def _are_rounded_the_same(texts: Sequence[str], golds: Sequence[str], places: int) -> bool:
    values, right = [number(text) for text in texts], [ratio(gold) for gold in golds]
    return None not in values and [round(value or 0, places) for value in values] == [
        round(value or 0, places) for value in right
    ]
