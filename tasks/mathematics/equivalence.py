r"""Decides whether two mathematical answers are the same: by their text, as numbers, or as expressions.

Most answers are numbers, and most of the others are written as the answer is; both are settled in
microseconds.  The rest is read by a strict grammar (``tasks.mathematics.answers``) and compared by value
(``tasks.mathematics.comparison``).  No text is evaluated, by ``eval`` or by a library that calls it: math-verify
reads plain expressions with sympy's ``parse_expr``, which is ``eval``; it also rounds to six decimals,
forgets the base of a numeral and the order of letters, and multiplies out whatever it is given.
"""

from __future__ import annotations

import re
from functools import lru_cache

from tasks.mathematics.answers import answers_of
from tasks.mathematics.comparison import same
from tasks.mathematics.size import MAX_LENGTH
from tasks.mathematics.terms import Answer
from tasks.mathematics.text import plain_number, tidied, without_separators

__all__ = ["choice_of", "equivalent", "plain_number", "prepare", "tidied"]

_CHOICE = re.compile(r"(?:option|choice|answer)?\s*(?:\(([A-Za-z])\)|([A-Za-z])\)?)[.:]?", re.IGNORECASE)
_LABELLED = re.compile(r"(?:\(([A-Z])\)|([A-Z])[.):])\s*(\S.*)", re.DOTALL)
_TAKEN_BACK = re.compile(
    r"\b(?:not|wrong|incorrect|never|neither|nor|isn)\b|n['’]t\b|(?:\bor|\band|,)\s*\(?[A-Z]\)?(?![\w(^_=<>+*/-])"
)
"""What makes a choice with its text none: "(A) 12 is wrong", "(A) 12 or (B)"."""


@lru_cache(maxsize=2**16)
def equivalent(gold: str, answer: str) -> bool:
    """Whether an answer is the right one, ``gold``, by the rules of ``docs/answers.md``.

    Two plain numbers (``1,000``, ``-0.50``, ``3/4``) are compared exactly: 0.333 is not 1/3.  Every result
    is kept, by its arguments: the responses of a group repeat each other.
    """
    if len(answer) > MAX_LENGTH or len(gold) > MAX_LENGTH:
        return False
    ours, theirs = tidied(without_separators(gold)), tidied(without_separators(answer))
    if ours == theirs:
        return bool(ours)
    numbers = plain_number(ours), plain_number(theirs)
    if numbers[0] is not None and numbers[1] is not None:
        return numbers[0] == numbers[1]
    gold_choice, choice = choice_of(gold), choice_of(answer)
    if gold_choice is not None and choice is not None:
        return gold_choice[0] == choice[0] if gold_choice[0].isupper() else gold_choice == choice
    if gold_choice is not None and gold_choice[1]:
        return equivalent(gold_choice[1], answer)
    if choice is not None and choice[1]:
        return equivalent(gold, choice[1])
    claimed = not re.search(r"mod|[Rr]ightarrow|iff|implies|⇒", gold)
    return any(same(one, other) for one in _read(gold, False) for other in _read(answer, claimed))


def choice_of(text: str) -> tuple[str, str] | None:
    r"""The letter of a choice and what it stands for: ``C``, ``(C)``, ``\textbf{(C) } 12``; None for neither."""
    bare = re.sub(r"\\(?:text[a-z]*|math[a-z]+|mbox|operatorname)\s*\{([^{}]*)\}", r" \1 ", text)
    bare = (
        re.sub(r"\\[ ,;:!]|\\(?:q?quad|displaystyle|textstyle)(?![A-Za-z])|[$~*`]", " ", bare)
        .strip()
        .rstrip(".")
        .strip()
    )
    alone = _CHOICE.fullmatch(bare)
    if alone:
        letter = alone[1] or alone[2]
        return (letter.upper() if alone[1] or len(bare) > 1 else letter), ""
    labelled = _LABELLED.fullmatch(bare)
    if labelled is None or _TAKEN_BACK.search(labelled[3]):
        return None
    return labelled[1] or labelled[2], labelled[3]


@lru_cache(maxsize=2**14)
def _read(text: str, claimed: bool) -> tuple[Answer, ...]:
    return tuple(answers_of(text, claimed=claimed))


def prepare() -> None:
    """Import and do once what is slow the first time."""
    equivalent(r"\sqrt{2}x", r"\frac{2x}{\sqrt{2}}")
