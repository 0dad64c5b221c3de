"""Compares a parsed answer with the gold answer: the rules of ``docs/answers.md``, one function each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tasks.mathematics.exact import exact
from tasks.mathematics.names import same_unit, words_of
from tasks.mathematics.relations import (
    as_interval,
    is_call,
    is_implicit,
    is_variable,
    mirrored,
    names_in_order,
    variable_of,
)
from tasks.mathematics.size import MAX_ITEMS
from tasks.mathematics.terms import (
    INFINITY,
    Answer,
    Group,
    Matrix,
    Numeral,
    Quantity,
    Relation,
    Term,
    Union,
    Unread,
    Words,
    negative,
    number,
)
from tasks.mathematics.values import close, equal, factor, is_affine

TOLERANCE = 0.01
"""How far the sides of a stated equation of numbers may be apart: 1/3 = 0.33 is a rounding, 7 = 12 is none."""


def same(gold: Answer, answer: Answer) -> bool:
    """Whether the answer is the gold one; the order of arguments matters."""
    if isinstance(gold, Relation) or isinstance(answer, Relation):
        return _same_relations(gold, answer)
    gold, answer = _alone(gold), _alone(answer)
    if isinstance(gold, Union) != isinstance(answer, Union):
        gold, answer = _as_union(gold), _as_union(answer)
    if isinstance(gold, Group) and isinstance(answer, Group):
        return _same_groups(gold, answer)
    if isinstance(gold, Quantity) and isinstance(answer, Quantity):
        return _same_quantities(gold, answer)
    if isinstance(gold, Numeral) or isinstance(answer, Numeral):
        return _same_numerals(gold, answer)
    if isinstance(gold, Union) and isinstance(answer, Union):
        ordered = gold.operator == r"\setminus"
        return gold.operator == answer.operator and _same_items(gold.parts, answer.parts, ordered=ordered)
    if isinstance(gold, Matrix) and isinstance(answer, Matrix):
        return (
            gold.bars == answer.bars
            and [len(row) for row in gold.rows] == [len(row) for row in answer.rows]
            and all(same(*pair) for rows in zip(gold.rows, answer.rows) for pair in zip(*rows))
        )
    if isinstance(gold, Words | Unread) and isinstance(answer, Words | Unread):
        if type(gold) is type(answer):
            return gold == answer
        return words_of(gold.text) == words_of(answer.text)
    return False


def _same_quantities(gold: Quantity, answer: Quantity) -> bool:
    if not same_unit(gold.unit, answer.unit):
        return False
    if _infinite(gold.term) or _infinite(answer.term):
        return _infinite(gold.term) == _infinite(answer.term)
    if gold.percent == answer.percent:
        return equal(gold.term, answer.term)
    if equal(_hundredth(gold), _hundredth(answer)):
        return True
    if not equal(gold.term, answer.term):
        return False
    # A percent sign is a unit where the question has asked for one; but half a percent is no half.
    value = exact(gold.term)
    return gold.percent or (value is not None and abs(value) > 1)


def _hundredth(quantity: Quantity) -> Term:
    return Term("quotient", (quantity.term, number(100))) if quantity.percent else quantity.term


def _infinite(term: Term) -> int:
    """1 for infinity, -1 for its negative, 0 for anything else."""
    if term == INFINITY:
        return 1
    return -1 if term == negative(INFINITY) else 0


def _same_numerals(gold: Answer, answer: Answer) -> bool:
    """Digits and base; digits without a base are in that of the gold answer."""
    if isinstance(gold, Numeral) and isinstance(answer, Numeral):
        return gold == answer
    if isinstance(gold, Numeral) and isinstance(answer, Quantity) and not answer.unit and not answer.percent:
        value = exact(answer.term)
        return value is not None and answer.term.operation == "number" and gold.digits == str(value)
    return False


def _same_groups(gold: Group, answer: Group) -> bool:
    if gold.is_set or answer.is_set:
        if not (gold.is_set and answer.is_set):
            plain = answer if gold.is_set else gold
            return plain.is_list and _same_items(gold.items, answer.items, ordered=False)
        return _same_items(_distinct(gold.items), _distinct(answer.items), ordered=False)
    if gold.is_list and answer.is_list:
        return _same_items(gold.items, answer.items, ordered=all(map(_is_name, gold.items)))
    if gold.is_list != answer.is_list and "[" in (gold.opening, answer.opening):
        return False
    if (
        not gold.is_list
        and not answer.is_list
        and (gold.opening, gold.closing)
        != (
            answer.opening,
            answer.closing,
        )
    ):
        return False
    if gold.is_list != answer.is_list and not (names_in_order(gold) and names_in_order(answer)):
        return False
    return _same_items(gold.items, answer.items, ordered=True)


def _alone(answer: Answer) -> Answer:
    """A set of one number is that number: the solution set of an equation."""
    if isinstance(answer, Group) and answer.is_set and len(answer.items) == 1:
        return answer.items[0] if isinstance(answer.items[0], Quantity) else answer
    return answer


def _as_union(answer: Answer) -> Answer:
    """A list of inequalities as the union of their intervals; anything else as it is."""
    if not isinstance(answer, Group) or not answer.is_list:
        return answer
    intervals = [as_interval(item) if isinstance(item, Relation) else None for item in answer.items]
    found = tuple(interval for interval in intervals if interval is not None)
    return Union(r"\cup", found) if len(found) == len(intervals) else answer


def _is_name(answer: Answer) -> bool:
    """Whether an item names something, so that an order of such items is an answer."""
    return isinstance(answer, Words) or (isinstance(answer, Quantity) and answer.term.operation == "symbol")


def _distinct(items: Sequence[Answer]) -> list[Answer]:
    kept: list[Answer] = []
    for item in items[:MAX_ITEMS]:
        if not any(same(other, item) for other in kept):
            kept.append(item)
    return [*kept, *items[MAX_ITEMS:]]


def _same_items(gold: Sequence[Answer], answer: Sequence[Answer], *, ordered: bool) -> bool:
    if len(gold) != len(answer):
        return False
    if ordered or len(gold) > MAX_ITEMS:
        return all(map(same, gold, answer))
    left = list(answer)
    for item in gold:
        found = next((place for place, other in enumerate(left) if same(item, other)), None)
        if found is None:
            return False
        del left[found]
    return True


def _same_relations(gold: Answer, answer: Answer) -> bool:
    if isinstance(gold, Relation) and isinstance(answer, Relation):
        return _both_relations(gold, answer)
    if isinstance(gold, Relation):
        interval = as_interval(gold)
        if interval is not None and isinstance(answer, Group):
            return same(interval, answer)
        claimed = _claimed(gold)
        return claimed is not None and _is_assigned(gold.sides[0]) and same(claimed, answer)
    assert isinstance(answer, Relation), "one of them is"
    interval = as_interval(answer)
    if interval is not None:
        return isinstance(gold, Group) and not gold.is_list and same(gold, interval)
    if set(answer.operators) <= {"=", r"\approx"} and r"\approx" in answer.operators:
        return any(same(gold, side) for side in _about(answer))
    claimed = _claimed(answer)
    return claimed is not None and same(gold, claimed)


def _claimed(relation: Relation) -> Answer | None:
    """What a relation says that something is; None for one that says no such thing, or is no statement."""
    if relation.operators == (r"\in",):
        return relation.sides[1]
    if not set(relation.operators) <= {"=", r"\equiv"}:
        return None
    first, last = relation.sides[0], relation.sides[-1]
    if "=" in relation.operators and not _consistent(relation):
        return None
    if is_variable(last) and not is_variable(first):
        return first
    if (
        isinstance(first, Quantity)
        and not is_call(first.term)
        and is_affine(first.term)
        and isinstance(last, Quantity)
    ):
        return None if not last.term.symbols else last  # 2x = 10 is to be solved
    if isinstance(first, Quantity) and isinstance(last, Quantity) and is_implicit(first.term, last.term):
        return None  # x^2 - 5x + 6 = 0, too
    return last


def _about(relation: Relation) -> list[Answer]:
    """The last side, and the one that it rounds, where it does."""
    before, last = relation.sides[-2], relation.sides[-1]
    if not _consistent(relation):
        return []
    return [before, last] if relation.operators[-1] == r"\approx" else [last]


def _consistent(relation: Relation) -> bool:
    """Whether the sides that are numbers are about the same."""
    numbers = [side for side in relation.sides if isinstance(side, Quantity) and not side.term.symbols]
    return all(
        exact(one.term) == exact(numbers[-1].term) is not None
        or close(_hundredth(one), _hundredth(numbers[-1]), TOLERANCE)
        or close(one.term, numbers[-1].term, TOLERANCE)
        for one in numbers[:-1]
    )


def _is_assigned(side: Answer) -> bool:
    """Whether the left side of a gold answer only names what is on the right: x, f(x), A/B."""
    if not isinstance(side, Quantity):
        return isinstance(side, Words | Unread | Group)
    return is_call(side.term) or (
        bool(side.term.symbols)
        and all(part.operation in ("symbol", "product", "quotient", "abs") for part in side.term.walk())
    )


def _both_relations(gold: Relation, answer: Relation) -> bool:
    if (gold.operators == (r"\in",)) != (answer.operators == (r"\in",)):
        members = [side.sides[1] if side.operators == (r"\in",) else side for side in (gold, answer)]
        return same(members[0], members[1])
    equations = {"=", r"\equiv"}
    if set(gold.operators) <= equations and set(answer.operators) <= equations:
        first, last = (gold.sides[0], gold.sides[-1]), (answer.sides[0], answer.sides[-1])
        if same(first[0], last[0]) and same(first[1], last[1]):
            return True
        return _proportional(first, last, lambda ratio: True)
    unsigned = gold.operators == (r"\ne",)
    for form in (answer, mirrored(answer)):
        if form is None or form.operators != gold.operators:
            continue
        if all(map(same, gold.sides, form.sides)):
            return True
        sides = (gold.sides[0], gold.sides[-1]), (form.sides[0], form.sides[-1])
        if len(gold.operators) == 1 and _proportional(*sides, lambda ratio: unsigned or ratio.real > 0):
            return True
    ours, theirs = as_interval(gold), as_interval(answer)
    return (
        ours is not None
        and theirs is not None
        and variable_of(gold) == variable_of(answer)
        and same(ours, theirs)
    )


def _proportional(
    gold: tuple[Answer, Answer], answer: tuple[Answer, Answer], wanted: Callable[[complex], bool]
) -> bool:
    """Whether left minus right is the same up to a factor that is wanted."""
    terms = [side.term for side in (*gold, *answer) if isinstance(side, Quantity) and not side.unit]
    if len(terms) != 4 or any(_infinite(term) for term in terms):
        return False
    differences = [Term("sum", (terms[place], negative(terms[place + 1]))) for place in (0, 2)]
    if not differences[0].symbols or differences[0].symbols != differences[1].symbols:
        return False
    ratio = factor(*differences)
    return ratio is not None and abs(ratio.imag) < 1e-12 * abs(ratio) and wanted(ratio)
