r"""Whether two mathematical answers are the same: by their text, as numbers, or by math-verify.

Most answers are numbers, and most of the others are written as the answer is; both are settled in
microseconds.  math-verify (sympy) gets the rest.  It is fast as a rule, 1 ms, and slow without bound on
``9^{9^{9^9}}`` or ``(10^8)!``, so what is large on its face is refused before it is tried, and what still
takes long is for the grading worker's clock: math-verify's own needs the main thread and SIGALRM, and is off.
"""

from __future__ import annotations

import logging
import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

from tasks.math_size import MAX_LENGTH, is_tame

_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})")
_RATIO = re.compile(r"([+-]?[0-9]{1,40})/([0-9]{1,40})")
_FRACTION = re.compile(r"([+-]?)\\frac\{([0-9]{1,40})\}\{([0-9]{1,40})\}")
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?")

_WARMING = ((r"\boxed{x^2+2x+1}", r"\boxed{(x+1)^2}"), (r"\boxed{(1,2)}", r"\boxed{\{1, \sqrt{2}\}}"))


@lru_cache(maxsize=2**16)
def equivalent(gold: str, answer: str, *, in_text: bool = False) -> bool:
    """Whether an answer is the right one, ``gold``.

    Two plain numbers (``1,000``, ``-0.50``, ``3/4``) are compared exactly: 0.333 is not 1/3.  With
    ``in_text`` the answer is prose, whose last expression is meant.  Every verdict is kept, by its
    arguments: the responses of a group repeat each other.
    """
    if len(answer) > MAX_LENGTH:
        return False
    ours, theirs = tidied(gold), tidied(answer)
    if ours == theirs:
        return True
    numbers = plain_number(ours), plain_number(theirs)
    if numbers[0] is not None and numbers[1] is not None:
        return numbers[0] == numbers[1]
    return is_tame(answer) and _verified(_boxed(gold), answer if in_text else _boxed(answer))


def tidied(text: str) -> str:
    r"""The text without what changes no meaning: ``$``, sizes of brackets, ``\text{}`` around it all, and
    spaces but those between two digits."""
    text = re.sub(r"\\(?:left|right|,|!|;|:|\s)|\\?\$", "", text.strip())
    text = re.sub(r"(?<![0-9])\s+|\s+(?![0-9])", "", text)
    text = text.replace(r"\dfrac", r"\frac").replace(r"\tfrac", r"\frac").removesuffix(".")
    whole = re.fullmatch(r"\\(?:text|mathrm|textbf)\{([^{}]*)\}", text)
    return whole[1] if whole else text


def plain_number(text: str) -> Fraction | None:
    """The value of a number or a quotient of two, written out; None for anything else."""
    if len(text) > MAX_LENGTH:
        return None
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    if _NUMBER.fullmatch(text):
        return Fraction(text)
    ratio = _RATIO.fullmatch(text)
    if ratio:
        return _quotient(ratio[1], ratio[2])
    fraction = _FRACTION.fullmatch(text)
    return _quotient(fraction[1] + fraction[2], fraction[3]) if fraction else None


def prepare() -> None:
    """Import math-verify and have it do once what is slow the first time (seconds)."""
    for gold, answer in _WARMING:
        _verified(gold, answer)


def _verified(gold: str, answer: str) -> bool:
    """math-verify's verdict, gold first: the order matters to it.  Prints and logs nothing."""
    library = _math_verify()
    truth, parsed = library.parse(gold, parsing_timeout=None), library.parse(answer, parsing_timeout=None)
    return bool(truth and parsed and library.verify(truth, parsed, timeout_seconds=None))


@lru_cache(maxsize=1)
def _math_verify() -> Any:
    import math_verify

    # It warns at every call that its clock is off, which is what we ask for.
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    return math_verify


def _boxed(answer: str) -> str:
    return rf"\boxed{{{answer}}}"


def _quotient(above: str, below: str) -> Fraction | None:
    return None if int(below) == 0 else Fraction(int(above), int(below))
