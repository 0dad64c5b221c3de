"""Reading a file of problems, with errors that name the file, the line and the cure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tasks.base import Problem


class Keys(NamedTuple):
    """The names that a file gives to the parts of a problem."""

    prompt: str
    answer: str
    domain: str | None
    difficulty: str | None


def read_problems(path: str, keys: Keys) -> list[Problem]:
    """The problems of a file, in its order; blank lines are passed over.

    Raises:
        ValueError: the file is missing or empty, or a line of it is not a problem.
    """
    problems = [_problem(row, keys, place) for row, place in _rows(path, keys)]
    if not problems:
        raise ValueError(f"{path}: is empty; write one problem a line, {_example(keys)}")
    return problems


def _rows(path: str, keys: Keys) -> Iterator[tuple[dict[str, Any], str]]:
    """Each JSON object with its place, ``file, line 7``."""
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            yield _row(line, keys, f"{path}, line {number}"), f"{path}, line {number}"


def _text(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: must be UTF-8 text, byte {error.start} is not; save it as UTF-8"
        ) from error
    except OSError as error:
        where = Path(path).expanduser().absolute()
        raise ValueError(
            f"{path}: cannot be read ({error.strerror}); looked for {where}, check the path"
        ) from error


def _row(line: str, keys: Keys, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{place}: is not JSON ({error}); write one object a line, {_example(keys)}"
        ) from error
    if not isinstance(row, dict):
        raise ValueError(f"{place}: must be an object, got {line.strip()[:40]}; write {_example(keys)}")
    return row


def _problem(row: dict[str, Any], keys: Keys, place: str) -> Problem:
    return Problem(
        prompt=_text_at(keys.prompt, row, place, "prompt_key"),
        answer=_text_at(keys.answer, row, place, "answer_key"),
        domain="jsonl" if keys.domain is None else _text_at(keys.domain, row, place, "domain_key"),
        difficulty=0.0 if keys.difficulty is None else _number_at(keys.difficulty, row, place),
    )


def _value_at(key: str, row: dict[str, Any], place: str, setting: str) -> Any:
    if key not in row:
        raise ValueError(
            f"{place}: has no {key!r}, only {', '.join(map(repr, row))}; add it or set {setting}"
        )
    return row[key]


def _text_at(key: str, row: dict[str, Any], place: str, setting: str) -> str:
    value = _value_at(key, row, place, setting)
    if not isinstance(value, str):
        raise ValueError(f"{place}: {key!r} must be text, got {json.dumps(value)}; write it in quotes")
    if not value.strip():
        raise ValueError(f"{place}: {key!r} must not be blank; fill it in or remove the line")
    return value


def _number_at(key: str, row: dict[str, Any], place: str) -> float:
    value = _value_at(key, row, place, "difficulty_key")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(
            f"{place}: {key!r} must be a finite number, got {json.dumps(value)}; write it without quotes"
        )
    return float(value)


def _example(keys: Keys) -> str:
    return json.dumps({keys.prompt: "2+3=", keys.answer: "5"})
