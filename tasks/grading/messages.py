"""Messages from a grading worker to its parent: lines of JSON, which the parent reads without trusting them.

A response that takes over its worker can write anything into the pipe.  Therefore no message is
unpickled, a line has a limit, and everything but the four known messages is refused.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from tasks.rewards import MOST_PARTS, PART_NAME, Parts

MAX_LINE_BYTES = 65_536
MAX_ERROR_CHARACTERS = 500
LARGEST_NUMBER = 1e300
"""JSON has whole numbers of any length, and those beyond a float's range cannot become one."""


class Ready(NamedTuple):
    """Sent once, when the task has been prepared and the worker has given up its rights."""

    confinement: dict[str, str]
    """What the graders are held to, as `tasks.grading.confinement` says it."""


class StartFailure(NamedTuple):
    """Sent in place of ``Ready`` when the task cannot be loaded or prepared."""

    reason: str


class Started(NamedTuple):
    """A list of jobs has been read, and the first of them is being graded."""

    processor_seconds: float
    """What the worker and the children that it has waited for have used so far."""


class GradedAnswer(NamedTuple):
    """The score of one response; ``error`` says why there is none."""

    score: float
    error: str = ""
    spent_seconds: float = 0.0
    """Processor time of this response."""
    processor_seconds: float = 0.0
    """As in ``Started``, when the next response begins."""
    worn_out: bool = False
    """The response has left too little of the worker for others, which ends now."""
    parts: Parts = {}  # noqa: RUF012  a tuple that is never changed
    """The numbers that the score is made of, by name; none unless the task has rewards of the user's own."""


Message = Ready | StartFailure | Started | GradedAnswer
_KINDS: dict[str, type[Message]] = {
    each.__name__: each for each in (Ready, StartFailure, Started, GradedAnswer)
}


def encode(message: Message) -> bytes:
    """The message as one line."""
    return json.dumps([type(message).__name__, *message]).encode() + b"\n"


def decode(line: bytes) -> Message:
    """The message of a line.

    Raises:
        ValueError: no worker of ours writes this line.
    """
    try:
        name, *values = json.loads(line)
        message = _KINDS[name](*values)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError("not a message of a grading worker") from error
    if not _is_sound(message):
        raise ValueError(f"not a {name} of a grading worker")
    return message


def described(error: BaseException) -> str:
    """An error in one short text that can be written anywhere."""
    text = f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARACTERS]
    return text.encode(errors="replace").decode()


def _is_sound(message: Message) -> bool:
    match message:
        case Ready(confinement):
            return isinstance(confinement, dict) and all(map(_is_text, confinement.values()))
        case StartFailure(reason):
            return _is_text(reason)
        case Started(seconds):
            return _is_seconds(seconds)
        case GradedAnswer(score, error, spent, seconds, worn_out, parts):
            return (
                _is_seconds(score)
                and score <= 1
                and _is_text(error)
                and _is_seconds(spent)
                and _is_seconds(seconds)
                and isinstance(worn_out, bool)
                and _are_parts(parts)
            )


def _are_parts(parts: Any) -> bool:
    return (
        isinstance(parts, dict)
        and len(parts) <= MOST_PARTS
        and all(PART_NAME.fullmatch(name) for name in parts)
        and all(type(value) in (int, float) and abs(value) <= LARGEST_NUMBER for value in parts.values())
    )


def _is_text(value: Any) -> bool:
    if not isinstance(value, str) or len(value) > MAX_ERROR_CHARACTERS:
        return False
    return value.isascii() or value.encode(errors="replace").decode() == value


def _is_seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LARGEST_NUMBER
