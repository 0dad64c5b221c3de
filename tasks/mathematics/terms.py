"""The elements of a parsed answer: terms with a value, and structures built of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Term:
    """An expression with one value: an operation on parts, or a number, or a name."""

    operation: str
    """``number``, ``symbol``, ``constant``, ``sum``, ``product``, ``quotient``, ``power``, ``root``, or a
    function's name."""
    parts: tuple[Term, ...] = ()
    value: Fraction = Fraction(0)
    """Value of a number."""
    name: str = ""
    """Name of a symbol or a constant."""

    def walk(self) -> Iterator[Term]:
        """The term and all that it is made of."""
        yield self
        for part in self.parts:
            yield from part.walk()

    @property
    def symbols(self) -> frozenset[str]:
        """Names of its variables."""
        return frozenset(term.name for term in self.walk() if term.operation == "symbol")


def number(value: Fraction | int) -> Term:
    """A number as a term."""
    return Term("number", value=Fraction(value))


def times(one: Term, other: Term) -> Term:
    """A product of two."""
    return Term("product", (one, other))


def negative(term: Term) -> Term:
    """A term with the other sign."""
    return times(number(-1), term)


def variable(name: str) -> Term:
    """A letter as a term: ``e`` and ``i`` are constants."""
    return Term("constant", name=name) if name in ("e", "i") else Term("symbol", name=name)


def written_number(text: str) -> Term:
    """A number as it is written, ``1.60`` or ``1.6e-19``: exactly what it says."""
    digits, _, exponent = text.lower().partition("e")
    value = number(Fraction(digits.removesuffix(".")))
    return times(value, Term("power", (number(10), number(int(exponent))))) if exponent else value


INFINITY = Term("constant", name="oo")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A term, with its unit (empty without) and whether a percent sign follows it."""

    term: Term
    unit: str = ""
    percent: bool = False


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number written in a base, ``1011_2``: its digits, not its value, are the answer."""

    digits: str
    base: str


@dataclass(frozen=True, slots=True)
class Words:
    """A text: a name, a choice, a word."""

    text: str


@dataclass(frozen=True, slots=True)
class Unread:
    """What is no expression that is understood; it equals the same text alone."""

    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """Several answers: a bare list (no brackets), a tuple or an interval, or a set in braces."""

    opening: str
    closing: str
    items: tuple[Answer, ...]

    @property
    def is_list(self) -> bool:
        """Whether no bracket is around it."""
        return not self.opening

    @property
    def is_set(self) -> bool:
        """Whether braces are around it."""
        return self.opening == "{"


@dataclass(frozen=True, slots=True)
class Union:
    r"""Sets joined by one operator: ``\cup``, ``\cap`` or ``\setminus``."""

    operator: str
    parts: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of terms; ``bars`` where they stand for its determinant."""

    rows: tuple[tuple[Answer, ...], ...]
    bars: bool = False


@dataclass(frozen=True, slots=True)
class Relation:
    r"""Sides and what stands between them: ``=``, ``<``, ``\le``, ``>``, ``\ge``, ``\ne``, ``\in``, ``\approx``."""

    sides: tuple[Answer, ...]
    operators: tuple[str, ...]


Answer = Quantity | Numeral | Words | Unread | Group | Union | Matrix | Relation
"""Anything that an answer can be."""
