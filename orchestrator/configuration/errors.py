"""The one kind of error that a user's input can cause."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from orchestrator.masking import mask


class ConfigError(ValueError):
    """Bad input, found before anything was started: file, key, rule, value and remedy in one line each.

    Values are shown without the credentials that are in them.
    """

    def __init__(self, message: str) -> None:
        super().__init__(mask(message))


LONGEST_REASON = 300
"""Characters of another program's error that are passed on."""

MOST_NAMED = 40
"""Known names in one message: more are not read."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest known one if it is near, and all of them, or of many the first."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}? " if near else ""
    more = f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
    return f"{hint}known: {', '.join(known[:MOST_NAMED]) or 'none'}{more}"


def one_line(error: BaseException) -> str:
    """What another program's error says, on one line; its kind where it says nothing."""
    return mask(" ".join(str(error).split()))[:LONGEST_REASON] or type(error).__name__
