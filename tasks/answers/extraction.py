"""Finding the answer in a free-form response."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

OPENING = "<answer>"
CLOSING = "</answer>"

_BOX = re.compile(r"\\(?:boxed|fbox|framebox)(?![A-Za-z])\s*")
_THINKING = r"(?:think|thinking|thought|thoughts|reasoning|reason|reflection|scratchpad)"
_THOUGHT_BEGINS = re.compile(rf"<{_THINKING}>|<\|begin_of_thought\|>|◁think▷", re.IGNORECASE)
_THOUGHT_ENDS = re.compile(rf"</{_THINKING}>|<\|end_of_thought\|>|◁/think▷", re.IGNORECASE)

_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_UNBRACED = re.compile(
    r"[+-]?(?:[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?(?:/[0-9]+)?(?:\\?%)?|(\\[A-Za-z]+)(?:\s*[0-9]{1,2})?|[A-Za-z](?![A-Za-z]))"
)
_JOINED = re.compile(
    r"[\s$.]*(?:\\[()\[\]])?[\s$]*(?:[,;]|(?:,\s*)?(?:and|or)|\\text\{\s*(?:and|or)\s*\})[\s$]*(?:\\[()\[\]])?[\s$]*"
)
"""What may stand between two boxes that are one answer."""

MAX_BOXES = 16
"""Boxes at the end of a text that are looked at."""

MAX_BETWEEN = 40
"""Characters between two boxes that are one answer."""


def tagged_answer(response: str) -> str:
    """What the last ``<answer>…</answer>`` holds, or the whole response where there is none.

    Found by position, not by a regular expression: a thousand opening tags cost no more than one.
    """
    end = response.rfind(CLOSING)
    start = response.rfind(OPENING, 0, end) if end >= 0 else -1
    return response if start < 0 else response[start + len(OPENING) : end]


def matched_answer(response: str, pattern: str | None) -> str:
    """The text of the last match of the pattern, or the whole response if it does not match.

    In a pattern with groups the first group counts.
    """
    if pattern is None:
        return response
    matches = list(re.finditer(pattern, response))
    if not matches:
        return response
    last = matches[-1]
    return (last[1] or "") if last.re.groups else last[0]


def normalised(text: str) -> str:
    """The text with every run of white space made one space, and none at its ends."""
    return " ".join(text.split())


def after_thinking(response: str) -> str:
    """What stands after the last ``</think>``; nothing where the thinking was cut before its end.

    A closing tag needs no opening one, which a chat template may have written into the prompt.
    """
    end = start = 0
    for match in _THOUGHT_ENDS.finditer(response):
        end = match.end()
    for match in _THOUGHT_BEGINS.finditer(response, end):
        start = match.end()
    return "" if start else response[end:]


def boxed_answer(text: str) -> str | None:
    r"""What the last ``\boxed{…}`` or ``\fbox{…}`` of a text holds, its braces balanced; None without one.

    Boxes that are joined by a comma or a word, ``\boxed{2} and \boxed{3}``, are one answer, a list; a box in a
    box is one.  A box without braces, ``\boxed 7``, holds the rest of its formula, or outside a formula its next
    number, letter or command.  A box that is opened last and never closed holds nothing: the text was cut
    before its answer.
    """
    closed = _closed_braces(text)
    boxes: list[_Box] = []
    for match in list(_BOX.finditer(text))[-MAX_BOXES:]:
        if not boxes or match.start() >= boxes[-1].end:
            boxes.append(_box(text, match, closed))
    if not boxes:
        return None
    held = [boxes[-1].answer]
    for before, after in pairwise(reversed(boxes)):
        between = text[after.end : before.start]
        if not held[-1] or len(between) > MAX_BETWEEN or not _JOINED.fullmatch(between):
            break
        held.append(after.answer)
    return held[0] if len(set(held)) == 1 else ", ".join(reversed(held))


def marked_answer(text: str, marker: str) -> str | None:
    """The rest of the line after the last marker, such as GSM8K's ``####``; None without one."""
    _, found, rest = text.rpartition(marker)
    return rest.split("\n", 1)[0].strip() if found else None


class _Box(NamedTuple):
    start: int
    end: int
    answer: str


def _box(text: str, match: re.Match[str], closed: dict[int, int]) -> _Box:
    start = match.end()
    if text[start : start + 1] != "{":
        end = _unbraced_end(text, start, closed)
        return _Box(match.start(), end, text[start:end].strip().rstrip(".,"))
    end = closed.get(start, -1)
    if end < 0:
        return _Box(match.start(), start + 1, "")
    inner = start + 1, end
    while (again := _BOX.match(text, _after_space(text, inner[0]))) and text[
        again.end() : again.end() + 1
    ] == "{":
        inside = closed.get(again.end(), -1)
        if inside < 0 or text[inside + 1 : inner[1]].strip():
            break
        inner = again.end() + 1, inside
    return _Box(match.start(), end + 1, text[inner[0] : inner[1]])


def _after_space(text: str, place: int) -> int:
    while text[place : place + 1].isspace():
        place += 1
    return place


def _unbraced_end(text: str, start: int, closed: dict[int, int]) -> int:
    """The end of the answer after a box without braces."""
    line_start = text.rfind("\n", 0, start) + 1
    before, line_end = text[line_start:start], text.find("\n", start)
    rest = text[start : line_end if line_end >= 0 else len(text)]
    formula = re.search(r"(?<!\\)\$|\\\)|\\\]", rest)
    opened = len(re.findall(r"(?<!\\)\$", before)) % 2 or any(
        before.rfind(left) > before.rfind(right) for left, right in ((r"\(", r"\)"), (r"\[", r"\]"))
    )
    if formula and opened:
        return start + formula.start()
    token = _UNBRACED.match(text, start)
    if token is None:
        return start
    end = token.end()
    while token[1] and text[end : end + 1] == "{" and end in closed:
        end = closed[end] + 1
    return end


def _closed_braces(text: str) -> dict[int, int]:
    r"""The place of every brace that is closed, with that of its closing one; ``\{`` and ``\}`` are none."""
    opened: list[int] = []
    closed: dict[int, int] = {}
    for match in _BRACE.finditer(text):
        if match[0] == "{":
            opened.append(match.start())
        elif match[0] == "}" and opened:
            closed[opened.pop()] = match.start()
    return closed
