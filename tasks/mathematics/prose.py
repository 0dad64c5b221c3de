"""Finds the answer that a line of prose states: the last expression that it does not retract."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from tasks.answers.extraction import tagged_answer
from tasks.mathematics.answers import answers_of
from tasks.mathematics.equivalence import choice_of
from tasks.mathematics.names import CHANGING, CONSTANTS, FUNCTIONS, SCALES, TWO_LETTER_WORDS, UNITS
from tasks.mathematics.size import MAX_LENGTH
from tasks.mathematics.terms import Answer, Group, Quantity, Relation, Unread, Words

MAX_LINE = 2 * MAX_LENGTH
"""Characters at the end of a line that are looked at."""

_MARKUP = re.compile(r"[\s$`*_~#>=-]*(?:\\[\])])?[\s$`*_~#>=-]*")
_LABEL = re.compile(
    r"[\s#*_`]*(?:(?:the\s+)?(?:final\s+)?(?:answer|result|solution)[\s:*_`]*(?:is)?)?[\s:*_`]*",
    re.IGNORECASE,
)
_SECTION = re.compile(
    r"[\s#*_`]*(?:step|part|case|section|problem|question|example|explanation|reasoning|verification|check|conclusion|summary"
    r"|solution|approach|method|note)\b",
    re.IGNORECASE,
)
_STRONG = re.compile(r"(?<![\w)*])(\*\*|__|`)(?=\S)([^*_`\n]+)\1(?![\w(*])")
_ITALIC = re.compile(r"(?<![\w)*])([*_])(?=\S)([^*_\n]+)(?<=\S)\1(?![\w(*])")
_FORMULA = re.compile(
    r"\$\$([^$]+)\$\$|(?<!\\)\$(?=\S)([^$\n]+)(?<=\S)\$(?![0-9])|\\\(([^\n]+?)\\\)|\\\[([^\n]+?)\\\]"
)
_TAG = re.compile(r"<(b|i|u|em|strong|code|p|span|div|mark|center)>([^<>]*)</\1>", re.IGNORECASE)
_BULLET = re.compile(r"(?:[>*]|[-+](?=\s+[*_`$\\]))\s+")
_ANCHOR = re.compile(
    r"\b(?:is|are|be|equals|get|gives|have|makes|need|needs|was)\b\s*:?|(?<![0-9\s]):(?=\s)|(?<![!<>=])=(?=\s)",
    re.IGNORECASE,
)
_LETTER = re.compile(
    r"\b(?:answer|option|choice)\b(?:\s+(?:is|must be|would be))?\s*:?\s*(?:option|choice)?\s*(?:\(([A-Z])\)|([A-Z]))(?![\w'])",
    re.IGNORECASE,
)
_RIGHT_LETTER = re.compile(
    r"(?:\(([A-Z])\)|(?<![\w'])([A-Z]))\s+(?:is|must be)\s+(?:the\s+)?(?:correct|right|answer)\b"
)
_LAST_LETTER = re.compile(
    r"(?:\b(?:is|be|choose|pick|select|option|choice)|['’]s|[:=])\s*(?:\(([A-Z])\)|(?<![\w'])([A-Z]))[.\s]*$"
)

_WORD = re.compile(r"(?<![A-Za-z\\0-9)}{])[A-Za-z]{2,}")
_READ_AS_ONE = frozenset((*FUNCTIONS, *CONSTANTS, *SCALES, *UNITS, "and", "or", "percent"))
_WORD_TOKENS = "|".join(sorted((*FUNCTIONS, *SCALES, "pi", "infinity"), key=len, reverse=True))
_PIECE = (
    r"(?:\\text\{[^{}]*\}|\\[A-Za-z]+[0-9]{0,2}|\\[{}%$,!]|(?<![A-Za-z0-9])[0-9]+(?:[.,][0-9]+)*(?:[eE][-+]?[0-9]+)?|\.[0-9]+"
    rf"|(?:{_WORD_TOKENS})[0-9]*(?![A-Za-z])|(?<![A-Za-z'’])[b-zB-HJ-Z](?![A-Za-z])|(?<![A-Za-z\s'’])[aAI](?![A-Za-z])"
    r"|[aAI](?=\s?[-+*/^=_)])|[-+*/^_=<>!%()\[\]{},;|×÷√π∞≤≥≠≈±°²³½−·⋅∪])"
)
_RUN = re.compile(rf"{_PIECE}(?:\s*{_PIECE})*")
_JOINS = re.compile(
    r"\s*[,;]?\s*(?:(?:and|or|and/or)\b)?\s*,?\s*(?:(?:maybe|perhaps|possibly|alternatively|else|also|even)\b)?,?\s*",
    re.IGNORECASE,
)

_BEFORE = re.compile(
    r"(?:\b(?:not|cannot|never|neither|nor|no longer|rather than|instead of|other than|except|unlike|excluding"
    r"|(?:any|every)thing but|all but)|n['’]t|≠|!=|<>|¬|\\neq?|\\not|\\neg|\\lnot"
    r"|\b(?:wrong|incorrect|false)(?:\s+\w+)?\s*(?:is|was|:|=))\s*"
    r"(?:(?:equals?|equal to|to|be|exactly|the|a|an|just|simply|merely|even|quite|actually|really|necessarily"
    r"|answer|value|number|is)\b\s*){0,4}:?\s*$",
    re.IGNORECASE,
)
"""Before an expression: it is taken back."""

_AFTER = re.compile(
    r"\s*(?:,?\s*(?:which|that|this|it)\s+)?(?:"
    r"(?:is|was|are|were|would be|cannot be|can be|seems)\s*(?:n['’]t|not|too|wrong|incorrect|false|impossible|excluded)"
    r"|(?:does|do|did|could|will|would|should|must|has|have)\s*(?:n['’]t|not)\b|fails\b|(?:isn|wasn|aren)['’]t"
    r"|,?\s*\(?(?:wrong|incorrect|false|no)\b)|(?:\s+or so)?\s*\?",
    re.IGNORECASE,
)
"""After an expression: it is taken back, or asked."""

_PART = re.compile(
    r"\b(?:half|twice|double|triple|thrice|plus|minus|times|over|divided by|multiplied by)\s*$|(?:%|\b(?:half|thirds?"
    r"|quarters?|fourths?|fifths?|percent|multiples?|factors?|divisors?|squared?|cube|root|fraction|part|power|logarithm"
    r"|double|inverse|reciprocal|negative|opposite|remainder))\s+of\s*$",
    re.IGNORECASE,
)
"""Before an expression: it is only a part of what is said, half of 12."""

_COMPARED = re.compile(r"\bthan\s*$|\bthan\s+(?:the|a|about|exactly)\s*$", re.IGNORECASE)
_FOLLOWING = re.compile(r"\s*-?\s*([A-Za-z]+)(?:\^\{?[0-9]\}?|[²³])?")


class _Claim(NamedTuple):
    start: int
    end: int
    text: str


def final_line(text: str) -> str:
    """The place of the answer in a response without a box: after the last ``####``, in the last ``<answer>``,
    else in the last line.

    A mark with a label alone, "#### Final Answer", is a title of what follows it; with a word such as "Step" it
    is the title of a section and no mark.
    """
    _, marker, rest = text.rpartition("####")
    marked, _, below = rest.partition("\n")
    if marker and not _SECTION.match(marked):
        return _first_line(below) if _LABEL.fullmatch(marked) else marked.strip()
    lines = [line for line in tagged_answer(text).split("\n") if not _MARKUP.fullmatch(line)]
    lines = [line for line in lines if not (line.lstrip().startswith("#") and _SECTION.match(line))]
    return lines[-1].strip() if lines else ""


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.split("\n") if not _MARKUP.fullmatch(line)), "")


def stated(line: str) -> list[str]:
    """What a line states as its answer, in the readings that are to be tried.

    A line, or what follows its last "is" or colon, that is an expression as a whole is the answer.  Otherwise
    it is the last expression, with those that "and", "or" or a comma join to it; an expression that is taken
    back ("not 12", "12 is wrong", "12?") is none, and neither is one that others are compared with ("less than
    12").  Words and letters of choices are read beside it.
    """
    line = _plain(line)
    for reading in (line, *_tails(line)):
        if _is_expression(reading):
            return [reading]
    readings = [reading for reading in (line, *_tails(line)) if _is_text(reading)]
    letter = _LETTER.search(line) or _RIGHT_LETTER.search(line) or _LAST_LETTER.search(line)
    if letter and not _BEFORE.search(line[: letter.start(letter.lastindex or 0)].rstrip("( ")):
        readings.append((letter[1] or letter[2]).upper())
    claim = _last_claim(line)
    return readings if claim is None else [*readings, claim]


def _plain(line: str) -> str:
    """The end of a line, without Markdown."""
    line = line.strip()
    if len(line) > MAX_LINE:
        line = line[-MAX_LINE:].partition(" ")[2]
    line = _TAG.sub(r"\2", _BULLET.sub("", line, count=1) if _BULLET.match(line) else line).replace("=>", "⇒")
    for _ in range(2):
        line = _ITALIC.sub(r"\2", _STRONG.sub(r"\2", line))
    return line.strip()


def _tails(line: str) -> list[str]:
    """What follows the last anchor."""
    end = 0
    for match in _ANCHOR.finditer(_FORMULA.sub(lambda formula: "x" * len(formula[0]), line)):
        end = match.end()
    before, tail = line[:end], line[end:].strip()
    return [tail] if end and tail and not (_BEFORE.search(before) or _COMPARED.search(before)) else []


def _is_expression(text: str) -> bool:
    """Whether a text is an expression as a whole, and neither words nor steps of a calculation."""
    answers = answers_of(text.strip().rstrip("."))
    words = [word for word in _WORD.findall(text) if word not in _READ_AS_ONE and not _is_product(word)]
    return any(
        _is_read(answer)
        and not (isinstance(answer, Group) and answer.is_list and all(map(_is_worked_out, answer.items)))
        and (not words or (isinstance(answer, Quantity) and bool(answer.unit)))
        for answer in answers
    )


def _is_product(word: str) -> bool:
    """Whether two letters are variables, and no word."""
    return len(word) == 2 and word.lower() not in TWO_LETTER_WORDS


def _is_text(text: str) -> bool:
    """Whether a text is words, or a choice with its text, and no expression that could be taken for one."""
    return choice_of(text) is not None or all(
        isinstance(item, Words | Unread)
        for answer in answers_of(text)
        for item in (answer.items if isinstance(answer, Group) and answer.is_list else (answer,))
    )


def _is_read(answer: Answer) -> bool:
    if isinstance(answer, Relation):
        return all(map(_is_read, answer.sides))
    return (
        all(map(_is_read, answer.items))
        if isinstance(answer, Group)
        else not isinstance(answer, Words | Unread)
    )


def _last_claim(line: str) -> str | None:
    claims = list(_claims(line))
    struck: set[str] = set()
    while claims:
        claim = claims.pop()
        before, after = line[: claim.start].rstrip("$ \\("), line[claim.end :].lstrip("$\\)")
        if _COMPARED.search(before) or _PART.search(before):
            return None
        if _BEFORE.search(before) or _AFTER.match(after):
            struck.add(claim.text)
        elif claim.text not in struck:
            return _joined(line, claims, claim)
    return None


def _joined(line: str, claims: list[_Claim], last: _Claim) -> str:
    """The last claim, with those that are joined to it; of sums that are worked out the last alone."""
    texts, start = [last.text], last.start
    for claim in reversed(claims):
        between = line[claim.end : start].replace("$", " ").replace(r"\)", " ").replace(r"\(", " ")
        if not between.strip() or not _JOINS.fullmatch(between):
            break
        texts.append(claim.text)
        start = claim.start
    if all(any(map(_is_worked_out, answers_of(text))) for text in texts):
        return last.text
    return ", ".join(reversed(texts))


def _is_worked_out(answer: Answer) -> bool:
    """Whether an answer is an equation of numbers alone, as a step of a calculation is."""
    if not isinstance(answer, Relation):
        return False
    return isinstance(answer.sides[0], Quantity) and not answer.sides[0].term.symbols


def _claims(line: str) -> Iterator[_Claim]:
    """Every expression of a line, in order: formulas, and runs of mathematics between words."""
    place = 0
    for formula in _FORMULA.finditer(line):
        yield from _runs(line, place, formula.start())
        inner = next(group for group in formula.groups() if group is not None)
        yield _with_following(line, _Claim(formula.start(), formula.end(), inner.strip()))
        place = formula.end()
    yield from _runs(line, place, len(line))


def _runs(line: str, start: int, end: int) -> Iterator[_Claim]:
    for match in _RUN.finditer(line, start, end):
        claim = _trimmed(match[0], match.start())
        if claim is not None:
            yield _with_following(line, claim)


def _trimmed(run: str, start: int) -> _Claim | None:
    """A run without the punctuation around it; None where nothing is left, or a lone letter."""
    while run:
        stripped = run.strip(" ,;=:≈")
        if stripped.startswith((")", "]", "}")):
            stripped = stripped[1:]
        if stripped.endswith(("(", "[", "{", " +", " -", " *", " /", "_")):
            stripped = stripped[:-1]
        for opening, closing in ("()", "[]"):
            if (
                stripped.endswith(closing)
                and stripped.count(closing) > stripped.count(opening)
                and opening not in stripped
            ):
                stripped = stripped[:-1]
            if stripped.startswith(opening) and closing not in stripped:
                stripped = stripped[1:]
        if stripped == run:
            break
        start += run.index(stripped) if stripped else 0
        run = stripped
    if not any(character.isdigit() or character in "π∞√½\\" for character in run) and len(run) < 3:
        return None
    return _Claim(start, start + len(run), run)


def _with_following(line: str, claim: _Claim) -> _Claim:
    """A claim with the word after it that makes it another number, or is its unit."""
    match = _FOLLOWING.match(line, claim.end)
    if match and (match[1].lower() in CHANGING or match[1] in UNITS or match[1] in SCALES):
        return claim._replace(text=f"{claim.text} {match[0].strip()}")
    return claim
