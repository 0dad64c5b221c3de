"""Forms of relations: a variable, a function's value, the interval that an inequality describes."""

from __future__ import annotations

from typing import TypeGuard

from tasks.mathematics.exact import exact
from tasks.mathematics.terms import INFINITY, Answer, Group, Quantity, Relation, Term, negative

_MIRRORED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}


def as_interval(relation: Relation) -> Group | None:
    """The interval that an inequality of one variable is: x > 3, or 1 < x <= 3; None for anything else."""
    if not all(operator in _MIRRORED for operator in relation.operators) or variable_of(relation) is None:
        return None
    if all(operator in (">", r"\ge") for operator in relation.operators):
        relation = mirrored(relation) or relation
    sides, operators = relation.sides, relation.operators
    if not all(operator in ("<", r"\le") for operator in operators) or len(sides) > 3:
        return None
    low: tuple[Answer, str] = (Quantity(negative(INFINITY)), "<")
    high: tuple[Answer, str] = (Quantity(INFINITY), "<")
    place = next(place for place, side in enumerate(sides) if is_variable(side))
    if len(sides) == 3 and place != 1:
        return None
    if place > 0:
        low = (sides[place - 1], operators[place - 1])
    if place < len(sides) - 1:
        high = (sides[place + 1], operators[place])
    return Group("(" if low[1] == "<" else "[", ")" if high[1] == "<" else "]", (low[0], high[0]))


def variable_of(relation: Relation) -> str | None:
    """The variable that one side is, where the others are numbers."""
    names = [side.term.name for side in relation.sides if isinstance(side, Quantity) and is_variable(side)]
    others = [side for side in relation.sides if not is_variable(side)]
    closed = all(isinstance(side, Quantity) and not side.term.symbols for side in others)
    return names[0] if len(names) == 1 and closed else None


def mirrored(relation: Relation) -> Relation | None:
    """An inequality read from right to left; None for another relation."""
    if not all(operator in _MIRRORED for operator in relation.operators):
        return None
    return Relation(
        relation.sides[::-1], tuple(_MIRRORED[operator] for operator in reversed(relation.operators))
    )


def is_variable(side: Answer) -> TypeGuard[Quantity]:
    """Whether a side is a variable alone."""
    return isinstance(side, Quantity) and side.term.operation == "symbol"


def is_call(term: Term) -> bool:
    """Whether a term is written as a function of a number, f(2)."""
    operations = [part.operation for part in term.parts]
    return term.operation == "product" and operations == ["symbol", "number"]


def is_implicit(left: Term, right: Term) -> bool:
    """Whether an equation says of variables that an expression with numbers is zero, and names nothing."""
    operations = {part.operation for part in left.walk()}
    return exact(right) == 0 and {"symbol", "number"} <= operations and not is_call(left)


def names_in_order(group: Group) -> bool:
    """Whether a list names its items in the order of the alphabet, x = 1, y = 2, or not at all."""
    names = [
        item.sides[0].term.name
        for item in group.items
        if isinstance(item, Relation) and is_variable(item.sides[0])
    ]
    return names == sorted(names)
