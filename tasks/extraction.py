"""Finding the answer in a free-form response."""

from __future__ import annotations

import re

OPENING = "<answer>"
CLOSING = "</answer>"
BOX = "\\boxed{"


def tagged_answer(response: str) -> str:
    """What the last ``<answer>…</answer>`` holds, or the whole response where there is none.

    Found by position, not by a regular expression: a thousand opening tags cost no more than one.
    """
    end = response.rfind(CLOSING)
    start = response.rfind(OPENING, 0, end) if end >= 0 else -1
    return response if start < 0 else response[start + len(OPENING) : end]


def matched_answer(response: str, pattern: str | None) -> str:
    """What the last match of the pattern holds, or the whole response where it does not match.

    Of a pattern with groups the first group is meant.
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


def boxed_answer(text: str) -> str | None:
    r"""What the last ``\boxed{…}`` of a text holds, its braces balanced; None without one.

    A box that is opened last and never closed holds nothing: the text was cut before its answer.
    """
    start = text.rfind(BOX)
    if start < 0:
        return None
    start, depth = start + len(BOX), 1
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start:place]
    return ""


def marked_answer(text: str, marker: str) -> str | None:
    """The rest of the line after the last marker, such as GSM8K's ``####``; None without one."""
    _, found, rest = text.rpartition(marker)
    return rest.split("\n", 1)[0].strip() if found else None
