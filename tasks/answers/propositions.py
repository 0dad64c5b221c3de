"""Statements of propositional logic as text, ``(P ∧ ¬Q) → R``, read into truth tables.

    equivalence = implication { "↔" implication }
    implication = disjunction { "→" disjunction }
    disjunction = conjunction { "∨" conjunction }
    conjunction = negation { "∧" negation }
    negation    = { "¬" } ( letter | "(" equivalence ")" )

Operators of one kind are taken from the left, as reasoning-gym takes them.  A table is one whole number:
bit i says whether the statement holds in the i-th case, so each operator is one operation on numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.answers.token_reader import TokenReader

MAX_LENGTH = 500
MAX_DEPTH = 32
MAX_NAMES = 20

_SIGNS = "↔→∨∧"
"""From the loosest to the tightest."""


def truth_table(text: str, names: Sequence[str]) -> int:
    """The cases in which a statement holds, of the 2^n that n names have.

    Raises:
        ValueError: it is malformed, has another name, or is over a limit.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"statement must have at most {MAX_LENGTH} characters, got {len(text)}")
    if len(names) > MAX_NAMES:
        raise ValueError(f"statement must have at most {MAX_NAMES} names, got {len(names)}")
    reader = _Reader(
        tokens="".join(text.split()),
        everywhere=2 ** (2 ** len(names)) - 1,
        tables={name: _table_of_name(place, len(names)) for place, name in enumerate(names)},
    )
    table = reader.operation(0, depth=0)
    if reader.next:
        raise ValueError(f"statement must end, got {reader.next!r}")
    return table


def is_variable(text: str) -> bool:
    """Whether a statement is one name and no more, whatever the parentheses around it."""
    return len("".join(text.split()).strip("()")) == 1


def _table_of_name(place: int, num_names: int) -> int:
    """The cases in which the name at that place is true: runs of 2^place zeros and ones in turn."""
    run = 2**place
    ones = (2**run - 1) << run
    period = 2 * run
    return sum(ones << start for start in range(0, 2**num_names, period))


@dataclass(kw_only=True)
class _Reader(TokenReader):
    """Recursive descent over the characters; the operators differ in nothing but sign and tightness."""

    everywhere: int
    tables: dict[str, int]

    def operation(self, tightness: int, depth: int) -> int:
        if tightness == len(_SIGNS):
            return self.negation(depth)
        value = self.operation(tightness + 1, depth)
        while self.next == _SIGNS[tightness]:
            sign = self.take()
            value = _OPERATIONS[sign](value, self.operation(tightness + 1, depth)) & self.everywhere
        return value

    def negation(self, depth: int) -> int:
        flip = 0
        while self.next == "¬":
            self.take()
            flip ^= self.everywhere
        token = self.take()
        if token == "(":  # nosec B105  # no password
            if depth >= MAX_DEPTH:
                raise ValueError(f"statement must be at most {MAX_DEPTH} parentheses deep")
            value = self.operation(0, depth + 1)
            if self.take() != ")":
                raise ValueError("statement must close its parentheses")
            return value ^ flip
        if token not in self.tables:
            raise ValueError(f"statement needs one of the names, got {token or 'its end'!r}")
        return self.tables[token] ^ flip


_OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "↔": lambda left, right: ~(left ^ right),
    "→": lambda left, right: ~left | right,
    "∨": lambda left, right: left | right,
    "∧": lambda left, right: left & right,
}
