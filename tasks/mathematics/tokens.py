r"""Splits an answer into tokens of a strict list; text outside the list is no expression."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tasks.mathematics.size import MAX_DIGITS


class NotReadError(Exception):
    """A text is no expression that is understood."""


class Token(NamedTuple):
    """A piece of an answer: ``number``, ``letters``, ``text``, ``command``, ``begin``, ``end`` or ``sign``."""

    kind: str
    text: str
    spaced: bool = False
    """Whether a space stands before it."""

    @property
    def word(self) -> str:
        r"""What ``\text{}`` holds; anything else as it is."""
        return self.text[6:-1].strip() if self.kind == "text" else self.text


_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+(?![0-9.]))?"
_GROUPED = r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?"
_REST = (
    r"|(?P<text>\\text\{[^{}]*\})|(?P<begin>\\begin\s*\{[a-zA-Z*]+\}(?:\{[clr| ]*\})?)|(?P<end>\\end\s*\{[a-zA-Z*]+\})"
    r"|(?P<command>\\[A-Za-z]+|\\[\\{}|$])|(?P<letters>[A-Za-z]+)"
    r"|(?P<sign>\*\*|<=|>=|!=|==|[-+*/^_()\[\]{},;:=<>!|%'&])"
)
_TOKEN = re.compile(rf"(?P<number>{_NUMBER}){_REST}")
_TOKEN_WITH_THOUSANDS = re.compile(rf"(?P<number>{_GROUPED}|{_NUMBER}){_REST}")
_SPACE = re.compile(r"\s*")

_ALIASES = {
    "**": "^", "==": "=", "<=": r"\le", ">=": r"\ge", "!=": r"\ne", r"\leq": r"\le", r"\leqslant": r"\le",
    r"\geq": r"\ge", r"\geqslant": r"\ge", r"\neq": r"\ne", r"\lt": "<", r"\gt": ">", r"\times": "*",
    r"\cdot": "*", r"\ast": "*", r"\div": "/", r"\lbrace": r"\{", r"\rbrace": r"\}", r"\lbrack": "[",
    r"\rbrack": "]", r"\lparen": "(", r"\rparen": ")", r"\lvert": "|", r"\rvert": "|", r"\vert": "|",
    r"\varnothing": r"\emptyset", r"\land": r"\wedge", r"\lor": r"\vee", r"\backslash": r"\setminus",
    r"\simeq": r"\approx", r"\cong": r"\approx", r"\implies": r"\Rightarrow", r"\Longrightarrow": r"\Rightarrow",
    r"\therefore": r"\Rightarrow", r"\degree": r"\circ", r"\prime": "'", r"\infin": r"\infty", r"\rightarrow": r"\to",
    r"\longrightarrow": r"\to", r"\gets": r"\leftarrow", r"\longleftarrow": r"\leftarrow",

    r"\lg": r"\log", r"\arcsinh": r"\arsinh", r"\arccosh": r"\arcosh", r"\arctanh": r"\artanh",
}  # fmt: skip

OPENING = ("(", "[", "{", r"\{", r"\langle", r"\lfloor", r"\lceil")
CLOSING = (")", "]", "}", r"\}", r"\rangle", r"\rfloor", r"\rceil")


def tokens_of(text: str, *, thousands: bool) -> list[Token]:
    """The tokens of a text that is ``tasks.mathematics.text.readable``.

    With ``thousands`` a comma between groups of three digits, outside brackets, separates thousands, and
    otherwise items of a list.

    Raises:
        NotReadError: it holds what is no token.
    """
    found: list[Token] = []
    place = depth = 0
    while place < len(text):
        start = _SPACE.match(text, place)
        assert start is not None, "the pattern matches nothing, too"
        if start.end() == len(text):
            break
        pattern = _TOKEN_WITH_THOUSANDS if thousands and depth == 0 else _TOKEN
        match = pattern.match(text, start.end())
        if match is None or match.lastgroup is None:
            raise NotReadError
        written = match[0].replace(",", "") if match.lastgroup == "number" else match[0]
        known = _ALIASES.get(written, written)
        kind = "sign" if match.lastgroup == "command" and known[0] != "\\" else match.lastgroup
        token = Token(kind, known, start.end() > place)
        if token.kind == "number" and len(written) > MAX_DIGITS:
            raise NotReadError
        depth += (token.text in ("(", "[", r"\{")) - (token.text in (")", "]", r"\}"))
        found.append(token)
        place = match.end()
    return found


def split(
    tokens: Sequence[Token], separates: Callable[[Token], bool]
) -> tuple[list[Sequence[Token]], list[Token]]:
    """The parts between separators that stand in no bracket, and the separators.

    Raises:
        NotReadError: the brackets do not balance.
    """
    parts: list[Sequence[Token]] = []
    separators: list[Token] = []
    depth = start = 0
    for place, token in enumerate(tokens):
        depth += (token.text in OPENING or token.kind == "begin") - (
            token.text in CLOSING or token.kind == "end"
        )
        if depth < 0:
            raise NotReadError
        if depth == 0 and separates(token):
            parts.append(tokens[start:place])
            separators.append(token)
            start = place + 1
    if depth:
        raise NotReadError
    return [*parts, tokens[start:]], separators


def match_of(tokens: Sequence[Token]) -> int:
    """The place of the bracket that closes the first token; the length where none does."""
    depth = 0
    for place, token in enumerate(tokens):
        depth += (token.text in OPENING or token.kind == "begin") - (
            token.text in CLOSING or token.kind == "end"
        )
        if depth == 0:
            return place
    return len(tokens)


def text_of(tokens: Sequence[Token]) -> str:
    """The tokens as one text, by which what is not understood is compared."""
    return "".join(f" {token.text}" if token.spaced else token.text for token in tokens).strip()


def unread(tokens: Sequence[Token]) -> str:
    """The tokens by which what is not understood is compared: without spaces, and braces around one of them."""
    kept: list[str] = []
    for token in tokens:
        kept.append(token.text)
        if kept[-3:-2] == ["{"] and kept[-1] == "}":
            kept[-3:] = [kept[-2]]
    return " ".join(kept)
