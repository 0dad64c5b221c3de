"""Finding the answer in a free-form response."""

from __future__ import annotations

import re

OPENING = "<answer>"
CLOSING = "</answer>"


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
