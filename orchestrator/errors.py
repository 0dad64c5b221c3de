"""The one kind of error that a user's input can cause, and the form of values in its message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from orchestrator.masking import mask


class ConfigError(ValueError):
    """Bad input, found before anything was started: file, key, rule, value and remedy in one line each.

    Values are shown without the credentials that are in them.
    """

    def __init__(self, message: str) -> None:
        super().__init__(mask(message))


LONGEST_REASON = 300
"""Characters of another program's error that are passed on."""

LONGEST_VALUE = 60
"""Characters of a value in a message."""

LONGEST_LINE = 2000
"""Characters of a fault."""

MOST_NAMED = 40
"""Known names in one message: more are not read."""

MOST_FAULTS = 40
"""Faults in one message: more are not read."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest known one if it is near, and all of them, or of many the first."""
    known = sorted(known)
    near = difflib.get_close_matches(word[:LONGEST_REASON], known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}? " if near else ""
    more = f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
    return f"{hint}known: {', '.join(known[:MOST_NAMED]) or 'none'}{more}"


def one_line(error: BaseException) -> str:
    """What another program's error says, on one line; its kind where it says nothing."""
    said = str(error).partition("\n    full_key:")[0]  # OmegaConf's, whose key is not always the file's
    return printable(mask(" ".join(said.split()))[:LONGEST_REASON]) or type(error).__name__


def innermost(error: BaseException) -> str:
    """The innermost cause: "[Errno 111] Connection refused" rather than the page that wraps it."""
    while not isinstance(error, ValueError) and (cause := error.__cause__ or error.__context__):
        error = cause
    return one_line(error)


def short(value: object) -> str:
    """A value as it stands in a message: of a long one the beginning, of nested ones as far as can be read."""
    try:
        text = mask(repr(value))  # first, for what is left of half a URI no longer looks like one
    except (RecursionError, ValueError):  # too deep, or a number of more digits than Python writes
        text = f"a {type(value).__name__}"
    return printable(text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}...")


def quoted(key: object) -> str:
    """A key as it stands in a path: as it is, but for one that would make the path unreadable."""
    text = mask(str(key)) if isinstance(key, str | int) else short(key)
    plain = text.isprintable() and 0 < len(text) <= LONGEST_VALUE and not text.isspace()
    return text if plain else short(text)


def named(path: object) -> str:
    """A file as it stands in a message; of a very long path both ends."""
    text = printable(str(path))
    half = LONGEST_REASON // 2
    return text if len(text) <= 2 * half else f"{text[:half]}...{text[-half:]}"


def printable(text: str) -> str:
    """The text with what no terminal can show written as Python does: control characters, lone surrogates."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def lines_of(faults: Iterable[str]) -> str:
    """The message of several faults, a line each; of very many the first."""
    found = [printable(mask(line))[:LONGEST_LINE] for fault in faults for line in fault.split("\n")]
    more = [f"and {len(found) - MOST_FAULTS} more"] if len(found) > MOST_FAULTS else []
    return "\n".join(found[:MOST_FAULTS] + more)


@contextmanager
def refusing(where: str, cure: str) -> Iterator[None]:
    """Turns whatever reading or checking a user's input raises into the one error, ``where: reason; cure``.

    Libraries document a part of what they raise; a hostile text finds the rest (`KeyError`, `AttributeError`,
    `RecursionError`, `MemoryError`, …), and all of it means that the input cannot be read.

    Raises:
        ConfigError: in the place of any other error.
    """
    try:
        yield
    except ConfigError:
        raise
    except RecursionError as error:
        raise ConfigError(f"{where}: is nested too deeply; {cure}") from error
    except MemoryError as error:
        raise ConfigError(f"{where}: does not fit into memory; make it smaller") from error
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror or one_line(error)}; {cure}") from error
    except Exception as error:
        raise ConfigError(f"{where}: {one_line(error)}; {cure}") from error
