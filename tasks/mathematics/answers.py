r"""Answers read from their text: quantities with units, lists, sets, intervals, matrices, equations, words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tasks.mathematics.names import (
    ATTACHED,
    CONSTANTS,
    FUNCTIONS,
    NO_UNITS,
    SCALES,
    TWO_LETTER_WORDS,
    UNITS,
    unit_of,
    words_of,
)
from tasks.mathematics.parser import term_of
from tasks.mathematics.size import is_tame
from tasks.mathematics.terms import (
    INFINITY,
    Answer,
    Group,
    Matrix,
    Numeral,
    Quantity,
    Relation,
    Union,
    Unread,
    Words,
    negative,
)
from tasks.mathematics.text import readable
from tasks.mathematics.tokens import NotReadError, Token, match_of, split, text_of, tokens_of, unread

RELATIONS = ("=", "<", ">", r"\le", r"\ge", r"\ne", r"\in", r"\approx", r"\equiv", r"\sim")
_IMPLIES = (r"\Rightarrow", r"\iff", r"\Leftrightarrow")
_CONNECTORS = ("and", "or")
_MAX_SIGNS = 2
"""Most ``\\pm`` in one item."""


def answers_of(text: str, *, claimed: bool = True) -> list[Answer]:
    """The readings of a text, one or two: 12,345 may be a number or a list.  None where it is no answer.

    In a text with a ``claimed`` answer, the part after its last arrow of implication is the answer, and a
    modulus is ignored; otherwise both are part of it.
    """
    if not text.strip() or not is_tame(text):
        return []
    plain = readable(text)
    found: list[Answer] = []
    for thousands in (True, False):
        try:
            tokens = tokens_of(plain, thousands=thousands)
        except NotReadError:
            answer: Answer = Unread(plain)
        else:
            answer = _answer_or_text(_claimed(tokens) if claimed else tokens)
        if answer not in found:
            found.append(answer)
    return found


def _claimed(tokens: Sequence[Token]) -> Sequence[Token]:
    arrows = [place for place, token in enumerate(tokens) if token.text in _IMPLIES]
    kept = tokens[arrows[-1] + 1 :] if arrows else tokens
    for place, token in enumerate(kept):
        after = kept[place + 1 :]
        if token.text in (r"\pmod", r"\bmod", r"\mod") and (
            len(after) == 1 or match_of(after) == len(after) - 1
        ):
            return kept[:place]
    return kept


def _answer_or_text(tokens: Sequence[Token]) -> Answer:
    try:
        return _answer(tokens)
    except NotReadError:
        return Unread(unread(tokens))


def _answer(tokens: Sequence[Token]) -> Answer:
    """One item, or a list."""
    items, _ = split(tokens, _separates)
    items = [item for item in items if item] if len(items) > 1 else items
    if not items:
        raise NotReadError
    found: list[Answer] = []
    for item in items:
        for variant in _signs(item):
            found.append(_item(variant))
    return found[0] if len(found) == 1 else Group("", "", tuple(found))


def _separates(token: Token) -> bool:
    if token.kind in ("text", "letters"):
        return token.word.strip(" ,;").lower() in _CONNECTORS
    return token.text in (",", ";", r"\vee", r"\wedge")


def _signs(tokens: Sequence[Token]) -> list[list[Token]]:
    r"""An item, or with ``\pm`` the two that it stands for."""
    places = [place for place, token in enumerate(tokens) if token.text in (r"\pm", r"\mp")]
    if not places:
        return [list(tokens)]
    if len(places) > _MAX_SIGNS:
        raise NotReadError
    variants = []
    for plus in ("+", "-"):
        variant = list(tokens)
        for place in places:
            same = tokens[place].text == r"\pm"
            variant[place] = Token("sign", plus if same else {"+": "-", "-": "+"}[plus], tokens[place].spaced)
        variants.append(variant)
    return variants


def _item(tokens: Sequence[Token]) -> Answer:
    sides, operators = split(tokens, lambda token: token.text in RELATIONS)
    if not operators:
        return _side(tokens)
    return Relation(tuple(_side_or_text(side) for side in sides), tuple(token.text for token in operators))


def _side_or_text(tokens: Sequence[Token]) -> Answer:
    try:
        return _side(tokens)
    except NotReadError:
        return Unread(unread(tokens))


def _side(tokens: Sequence[Token]) -> Answer:
    if not tokens:
        raise NotReadError
    written = text_of(tokens).replace(" ", "")
    if written == r"\emptyset":
        return Group("{", "}", ())
    if written == r"\mathbb{R}":
        return Group("(", ")", tuple(Quantity(term) for term in (negative(INFINITY), INFINITY)))
    numeral = _numeral(written)
    if numeral is not None:
        return numeral
    parts, operators = split(tokens, lambda token: token.text in (r"\cup", r"\cap", r"\setminus"))
    if not operators:
        parts, operators = _joined_by_u(tokens)
    if operators:
        if len({token.text for token in operators}) > 1:
            raise NotReadError
        return Union(operators[0].text, tuple(_side(part) for part in parts))
    return _bracketed(tokens) or _words(tokens) or _quantity(tokens)


def _joined_by_u(tokens: Sequence[Token]) -> tuple[list[Sequence[Token]], list[Token]]:
    """Intervals joined by a letter: (0, 1) U (2, 3)."""
    if not any(token.text == "U" for token in tokens):
        return [tokens], []
    parts, letters = split(tokens, lambda token: token.text == "U")
    closed = all(part and part[0].text in ("(", "[") and part[-1].text in (")", "]") for part in parts)
    return (parts, [Token("command", r"\cup") for _ in letters]) if closed else ([tokens], [])


def _numeral(written: str) -> Numeral | None:
    """Digits with a base: 1011_2, 1A_{16}, (1011)_2."""
    match = re.fullmatch(
        r"\(?([0-9A-Fa-f]*[0-9][0-9A-Fa-f.]*)\)?_\{?(?:\\text\{)?([0-9]{1,2}|[a-z]{3,11})\}?\}?", written
    )
    if match is None:
        return None
    bases = {"two": "2", "three": "3", "eight": "8", "ten": "10", "sixteen": "16"}
    return Numeral(match[1].upper().lstrip("0") or "0", bases.get(match[2], match[2]))


def _bracketed(tokens: Sequence[Token]) -> Answer | None:
    """A tuple, an interval, a set or a matrix, where a bracket holds it all."""
    first, end = tokens[0], match_of(tokens)
    if first.kind == "begin":
        return _matrix(first.text, tokens[1:end]) if end == len(tokens) - 1 else None
    if first.text not in ("(", "[", "{", r"\{", r"\langle") or end != len(tokens) - 1:
        return None
    inside = tokens[1:-1]
    if inside and inside[0].kind == "begin" and match_of(inside) == len(inside) - 1:
        return _bracketed(inside)
    opening = {r"\{": "{", r"\langle": "("}.get(first.text, first.text)
    closing = {r"\}": "}", r"\rangle": ")"}.get(tokens[-1].text, tokens[-1].text)
    if not inside:
        return Group("{", "}", ()) if opening == "{" else None
    items, _ = split(inside, lambda token: token.text in (",", ";"))
    if first.text == "{" and len(items) == 1:
        return _side(inside)  # a group of LaTeX's
    if len(items) > 1:
        return Group(opening, closing, tuple(variant for item in items for variant in _all_of(item)))
    if opening == "{":
        return Group(opening, closing, tuple(_all_of(items[0])))
    return None


def _all_of(item: Sequence[Token]) -> list[Answer]:
    return [_side(variant) for variant in _signs(item)]


def _matrix(begin: str, tokens: Sequence[Token]) -> Answer:
    if not re.search(r"matrix|array", begin):
        raise NotReadError
    rows, _ = split(tokens, lambda token: token.text == r"\\")
    rows = [row for row in rows if row]
    cells = tuple(tuple(_side(cell) for cell in split(row, lambda t: t.text == "&")[0]) for row in rows)
    return Matrix(cells, bars="vmatrix" in begin.lower())


def _words(tokens: Sequence[Token]) -> Words | None:
    """Words alone: three letters in a row are no product."""
    if not all(token.kind in ("text", "letters") or token.text in ("-", "'") for token in tokens):
        return None
    written = [token.word for token in tokens]
    if len(tokens) == 1 and tokens[0].kind == "letters":
        word = written[0]
        if word in FUNCTIONS or word in CONSTANTS:
            return None
        if len(word) < 3 and word.lower() not in TWO_LETTER_WORDS:
            return None
    elif all(len(word) == 1 for word in written):
        return None
    return Words(words_of(" ".join(written)))


def _quantity(tokens: Sequence[Token]) -> Quantity:
    """A term, with a sign of currency before it, and a percent sign or a unit after it."""
    tokens, unit = list(tokens), ""
    if tokens[0].text == r"\$":
        tokens, unit = tokens[1:], "dollar"
    elif tokens[0].kind == "text" and UNITS.get(tokens[0].word.lower()) in ("euro", "pound", "yen"):
        tokens, unit = tokens[1:], UNITS[tokens[0].word.lower()]
    elif tokens[:2] and [token.text for token in tokens[:2]] in (["-", r"\$"], ["+", r"\$"]):
        tokens, unit = [tokens[0], *tokens[2:]], "dollar"
    tokens = _without_label(tokens)
    if tokens and _is_percent(tokens[-1]):
        return Quantity(term_of(tokens[:-1]), unit, percent=True)
    for place in range(1, len(tokens)):
        found = _unit(tokens, place)
        if found is not None:
            if unit and found != unit:
                raise NotReadError
            if found == "degree" and any(token.text.lstrip("\\") in FUNCTIONS for token in tokens[:place]):
                break  # the angle of a function
            return Quantity(term_of(tokens[:place]), found)
    return Quantity(term_of(tokens), unit)


def _without_label(tokens: list[Token]) -> list[Token]:
    """Without words that only lead up to the answer."""
    if len(tokens) > 1 and tokens[0].kind == "text":
        label = tokens[0].word.lower()
        if re.fullmatch(r"(?:.* )?(?:is|are|equals|answer|:)|.*:|about|approximately|exactly", label):
            return tokens[1:]
    return tokens


def _is_percent(token: Token) -> bool:
    return token.text == "%" or token.word.lower() in ("percent", "pct", "percentage")


def _unit(tokens: Sequence[Token], place: int) -> str | None:
    """The unit that stands from a place on to the end; None where there is none."""
    first = tokens[place]
    written = [token.text for token in tokens[place:]]
    if written[0] == "^" and written[1:2] == [r"\circ"]:
        written = ["degree", *written[2:]]
    elif written[0] == "^" and written[1:4] == ["{", r"\circ", "}"]:
        written = ["degree", *written[4:]]
    elif written[0] == "^" and tokens[place - 1].kind == "number":
        raised = "".join(written[1:]).strip("{}")
        return "th" if re.fullmatch(r"(?:\\text\{)?(?:th|st|nd|rd)\}?", raised) else None
    elif (first.kind == "letters" and not _is_unit_word(tokens, place)) or first.kind not in (
        "text",
        "letters",
    ):
        return None
    words = " ".join(re.sub(r"^\\text\{(.*)\}$", r"\1", part) for part in written)
    return unit_of(re.sub(r"\^ (?:\{ )?(-? ?[0-9]+)(?: \})?", r"^\1", words).replace("^- ", "^-"))


def _is_unit_word(tokens: Sequence[Token], place: int) -> bool:
    """Whether bare letters are a unit, and not variables: cm, a spaced m, or a word with a vowel."""
    token, before = tokens[place], tokens[place - 1]
    if before.kind not in ("number", "text") and before.text not in (")", "}", "]", r"\pi", "pi", *SCALES):
        return False
    if token.text in ("a", "an"):  # 12 a day
        return (
            token.spaced
            and tokens[place + 1 : place + 2] != []
            and _is_unit_word([Token("number", ""), tokens[place + 1]], 1)
        )
    if token.text in FUNCTIONS or token.text in CONSTANTS or token.text in SCALES:
        return False
    if token.text in UNITS:
        return token.text in ATTACHED or (token.spaced and (len(token.text) > 1 or before.kind == "number"))
    is_noun = len(token.text) >= 3 and bool(re.search(r"[aeiou]", token.text.lower()))
    return token.spaced and is_noun and token.text.lower() not in NO_UNITS
