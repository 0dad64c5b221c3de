"""Problems of rows whose keys a user has named; errors name the place, the key and the cure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NamedTuple

from tasks.base import Problem
from tasks.data.columns import domain_at, number_at, text_at
from tasks.data.rows import Row


class Keys(NamedTuple):
    """The names that a data set gives to the parts of a problem."""

    prompt: str
    answer: str
    domain: str | None
    difficulty: str | None

    @property
    def example(self) -> str:
        """A right row as JSON."""
        return json.dumps({self.prompt: "2+3=", self.answer: "5"})


def problems_of(name: str, rows: Iterable[tuple[Row, str]], keys: Keys) -> list[Problem]:
    """The problems of the rows of ``name``, in their order.

    Raises:
        ValueError: there is none, or a row is not a problem.
    """
    problems = [_problem(row, keys, place) for row, place in rows]
    if not problems:
        raise ValueError(f"{name}: is empty; give it one problem a row, {keys.example}")
    return problems


def _problem(row: Row, keys: Keys, place: str) -> Problem:
    domain, difficulty = keys.domain, keys.difficulty
    others = {key: value for key, value in row.items() if key not in keys}
    return Problem(
        prompt=text_at(keys.prompt, row, place, "prompt_key"),
        answer=text_at(keys.answer, row, place, "answer_key"),
        domain="jsonl" if domain is None else domain_at(domain, row, place),
        difficulty=0.0 if difficulty is None else number_at(difficulty, row, place, "difficulty_key"),
        facts=json.loads(json.dumps(others, default=_plain)),
    )


def _plain(value: Any) -> float | str:
    """What JSON has no word for: a number, or what only a table has, such as a day, as text."""
    return float(value) if isinstance(value, Decimal) else str(value)
