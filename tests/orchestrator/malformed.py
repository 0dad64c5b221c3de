"""Malformed files: every shipped one, changed at random but the same each time, and what a command may do with it.

A change is of the structure (a value or a key becomes another, goes, or is there too much) or of the text (cut off,
bits flipped, characters put in).  A command may find the file valid, or end with status 2 and a message that names
it.  Nothing else: no other status, no traceback, no work or memory without end.
"""

from __future__ import annotations

import random
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner
from typer.main import get_command

from orchestrator.cli import app
from orchestrator.commands.clear_errors import EXIT_BAD_INPUT

PROCESSOR_SECONDS = 60
"""Processor time of this process: a busy machine makes it no shorter, and no file is worth more."""

MORE_MEMORY_BYTES = 6 << 30

NUMBERS = [
    0,
    -1,
    1,
    2,
    7,
    True,
    False,
    0.5,
    1e40,
    -1e40,
    1e-300,
    1e300,
    10**12,
    2**31,
    2**63,
    2**64,
    -(2**70),
]
NUMBERS += [float("inf"), float("-inf"), float("nan"), 1.0000001, 10**9, 100_000]
TEXTS = [
    "",
    " ",
    "x",
    "x" * 300,
    "x" * 5000,
    "a\nb",
    "a\tb",
    "\x00",
    "\x1b[31m",
    "\u202e",
    "\ud800",
    "ä\u0301",
    "null",
    "yes",
]
TEXTS += [
    "${",
    "${}",
    "${nowhere}",
    "${name}",
    "${.}",
    "${..}",
    "${oc.env:HOME}",
    "${oc.env:NO_SUCH_VARIABLE}",
    "$",
    "\\${a}",
]
TEXTS += [
    "~nosuchuser",
    "~nosuchuser/x",
    "/",
    ".",
    "..",
    "/dev/zero",
    "/dev/null",
    "/proc/self/mem",
    "a\x00b",
    "a/b",
    "lock",
]
TEXTS += [
    "campaign.json",
    "LOCK",
    "con",
    "a.",
    "tracking.json",
    "a{99999999999}",
    "(" * 2000,
    "(a+)+$",
    "[",
    "package:x",
    "package:",
]
TEXTS += [
    "1e5",
    "0x10",
    "010",
    "1:30",
    "2024-01-01",
    "1_000",
    "NaN",
    "-",
    "constant",
    "pid",
    "{kind: pid}",
    "sqlite://",
    "http://",
]
TEXTS += [
    "http://[",
    "http://x:99999999",
    "sqlite:////nowhere/x/y.db",
    "???",
    "entropy/domain/",
    "builtin:nothing",
    "%s%n",
    "é" * 90,
]
OTHERS: list[Any] = [
    None,
    [],
    {},
    [None],
    {"kind": None},
    {"kind": "pid"},
    {"kind": []},
    [1, 2],
    [[]],
    {"": 1},
    {"a": {"b": 1}},
]
OTHERS += [
    {"kind": "x" * 300},
    [{}],
    list(range(50)),
    {str(i): i for i in range(60)},
    {"x" * 300: 1},
    {"a\nb": 1},
]
VALUES = [*NUMBERS, *TEXTS, *OTHERS]
KEYS = [
    "",
    "x",
    "kind",
    "x" * 300,
    "a.b",
    "a\nb",
    "\x1b",
    "${x}",
    "<<",
    "null",
    "1",
    "yes",
    "__class__",
    "model_config",
]
CHUNKS = [
    "\t",
    "\n",
    " ",
    "  ",
    ":",
    ": ",
    "- ",
    "-",
    "[",
    "]",
    "{",
    "}",
    "[" * 100,
    "{" * 100,
    "[" * 5000,
    "'",
    '"',
    "#",
    " #",
    "&a ",
]
CHUNKS += [
    "*a ",
    "*a",
    "<<: *a\n",
    "<<: {a: 1}\n",
    "---\n",
    "\n...\n",
    "!!int ",
    "!!set ",
    "!!timestamp ",
    "!!binary ",
    "!x ",
]
CHUNKS += [
    "!!python/object/apply:os.getcwd []",
    "%YAML 9.9\n",
    "? ",
    "|",
    ">",
    "@",
    "`",
    "%",
    ",",
    "\r",
    "\r\n",
    "\x00",
    "\x07",
    "\x85",
]
CHUNKS += [
    "\u2028",
    "\ufeff",
    "\ufffe",
    "\U0001f600",
    "9" * 5000,
    "e999",
    "0",
    "-",
    ".",
    "${",
    "}",
    "\\",
    "~",
    "null",
    "yes",
    "=",
    "<<",
]
BYTES = [b"\xff", b"\xfe\xff", b"\xed\xa0\x80", b"\xc3", b"\x80", b"\xf8\x88\x80\x80\x80"]

COMMANDS = get_command(app)  # made once


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A malformed file, and how it was made."""

    how: str
    content: bytes


def mutants(path: Path, number: int, first: int = 0) -> Iterator[Mutant]:
    """Some of a file's, each of which depends on its name and its number alone."""
    text = path.read_text(encoding="utf-8")
    for index in range(first, first + number):
        rng = random.Random(f"{path.name}/{index}")
        made = _of_structure(text, rng) if rng.random() < 0.7 else _of_text(text, rng)
        yield Mutant(how=f"{path.name}/{index}: {made.how}", content=made.content)


def _of_structure(text: str, rng: random.Random) -> Mutant:
    """One or two changes of values and keys."""
    tree = deepcopy(yaml.safe_load(text))
    done = [_change(tree, rng) for _ in range(rng.choice((1, 1, 1, 2)))]
    dumped = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=rng.random() < 0.5)
    return Mutant(how="; ".join(done), content=dumped.encode("utf-8", "surrogatepass"))


class _Dumper(yaml.SafeDumper):
    """Writes values out where they are there twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _change(tree: Any, rng: random.Random) -> str:
    places = list(_places(tree))
    holder, key, path = rng.choice(places)
    what = rng.choice(
        ("value", "value", "value", "value", "value", "alike", "gone", "renamed", "more", "moved", "wrapped")
    )
    if what == "value":
        holder[key] = deepcopy(rng.choice(VALUES))
    elif what == "alike":  # of the same type, so that it comes further
        old = holder[key]
        same = [each for each in VALUES if type(each) is type(old)]
        holder[key] = deepcopy(rng.choice(same or VALUES))
    elif what == "gone":
        del holder[key]
    elif what == "renamed" and isinstance(holder, dict):
        holder[rng.choice(KEYS)] = holder.pop(key)
    elif what == "more" and isinstance(holder, dict):
        holder[rng.choice(KEYS)] = deepcopy(rng.choice(VALUES))
    elif what == "more":
        holder.extend(deepcopy(holder[key]) for _ in range(rng.choice((1, 3, 200))))
    elif what == "moved":
        other, place, _ = rng.choice(places)
        holder[key] = deepcopy(other[place]) if _is_there(other, place) else None
    else:
        for _ in range(rng.choice((1, 1, 40))):
            holder[key] = rng.choice((lambda value: [value], lambda value: {"x": value}))(holder[key])
    return f"{path} {what} → {str(holder)[:80]!r}"


def _is_there(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def _places(node: Any, path: str = "") -> Iterator[tuple[Any, Any, str]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(items):
        yield node, key, f"{path}.{key}"
        yield from _places(value, f"{path}.{key}")


def _of_text(text: str, rng: random.Random) -> Mutant:
    """One to three changes of characters, or the whole in another encoding."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        what, text = _spoiled(text, rng)
    encoded = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.1:
        at = rng.randrange(len(encoded) + 1)
        return Mutant(how="bytes", content=encoded[:at] + rng.choice(BYTES) + encoded[at:])
    if rng.random() < 0.05:
        return Mutant(
            how="encoding", content=text.encode(rng.choice(("utf-16", "utf-32", "latin-1")), "replace")
        )
    return Mutant(how=what, content=encoded)


def _spoiled(text: str, rng: random.Random) -> tuple[str, str]:
    at, chunk = rng.randrange(len(text) + 1), rng.choice(CHUNKS)
    lines = text.split("\n")
    line = rng.randrange(len(lines))
    what = rng.choice(
        ("cut", "flip", "insert", "insert", "insert", "drop", "twice", "indent", "swap", "crlf", "after key")
    )
    if what == "cut":
        return what, text[:at]
    if what == "flip" and at < len(text):
        return what, text[:at] + chr(ord(text[at]) ^ (1 << rng.randrange(7))) + text[at + 1 :]
    if what == "drop":
        return what, text[:at] + text[at + rng.randrange(1, 30) :]
    if what == "crlf":
        return what, text.replace("\n", "\r\n")
    if what in ("twice", "indent", "swap"):
        other = rng.randrange(len(lines))
        changed = {
            "twice": [*lines[:line], lines[line], *lines[line:]],
            "indent": [*lines[:line], f"  {lines[line]}", *lines[line + 1 :]],
            "swap": [lines[other] if place == line else each for place, each in enumerate(lines)],
        }[what]
        return what, "\n".join(changed)
    if what == "after key" and ": " in text:
        at = text.find(": ", at) + 2 if text.find(": ", at) >= 0 else text.find(": ") + 2
    return f"{what} {chunk[:20]!r}", text[:at] + chunk + text[at:]


def verdict(arguments: list[str], named: str) -> str | None:
    """What is wrong with how a command ends; None where it is valid, or refused as it has to be."""
    with within_bounds():
        result = CliRunner().invoke(COMMANDS, arguments)
    if result.exit_code == 0:
        return None
    if result.exit_code != EXIT_BAD_INPUT or not isinstance(result.exception, SystemExit):
        return f"status {result.exit_code}, {type(result.exception).__name__}: {str(result.exception)[:300]}"
    first, *others = result.stderr.rstrip("\n").split("\n")
    if not first.startswith("error: "):
        return f"no message: {result.stderr[:300]!r}"
    for line in (first, *others):
        if not any(each in line for each in (named, ".yaml")) and not line.startswith("and "):
            return f"names no file: {line[:300]!r}"
        if not line.isprintable():
            return f"cannot be printed: {line[:300]!r}"
        if len(line) > 2500:
            return f"is not one line to read: {len(line)} characters, {line[:200]!r}"
    return None


@contextmanager
def within_bounds() -> Iterator[None]:
    """Ends what works or grows without end, with an error of its own kind."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    handler = signal.signal(signal.SIGPROF, _too_long)
    resource.setrlimit(resource.RLIMIT_AS, (size + MORE_MEMORY_BYTES, before[1]))
    signal.setitimer(signal.ITIMER_PROF, PROCESSOR_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGPROF, handler)


class TooLong(BaseException):
    """Not an `Exception`: nothing that reads a file may take it for a fault of the file's."""


def _too_long(*_: Any) -> None:
    raise TooLong(f"more than {PROCESSOR_SECONDS} s of processor time")
