"""Reads a file of problems; errors name the file, the line and the cure."""

from __future__ import annotations

import json
from typing import NamedTuple

from tasks.base import Problem
from tasks.data.columns import domain_at, number_at, text_at
from tasks.data.rows import Row, jsonl_rows


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
    example = json.dumps({keys.prompt: "2+3=", keys.answer: "5"})
    problems = [_problem(row, keys, place) for row, place in jsonl_rows(path, example)]
    if not problems:
        raise ValueError(f"{path}: is empty; write one problem a line, {example}")
    return problems


def _problem(row: Row, keys: Keys, place: str) -> Problem:
    domain, difficulty = keys.domain, keys.difficulty
    others = {key: value for key, value in row.items() if key not in keys}
    return Problem(
        prompt=text_at(keys.prompt, row, place, "prompt_key"),
        answer=text_at(keys.answer, row, place, "answer_key"),
        domain="jsonl" if domain is None else domain_at(domain, row, place),
        difficulty=0.0 if difficulty is None else number_at(difficulty, row, place, "difficulty_key"),
        facts=json.loads(json.dumps(others, default=float)),
    )
