"""Demonstrations of a task by a beginner, from the first turn to the end, for warm starts."""

from __future__ import annotations

from random import Random

from tasks.base import Problem, Task

MAX_TURNS = 64
"""Turns of a demonstration; a task that still answers then does not end."""


def demonstration(task: Task, problem: Problem, rng: Random, error_rate: float) -> list[str]:
    """Turn, reply, turn, …, turn: one turn for a task that does not answer back.

    Raises:
        ValueError: the task has no worked solutions to show (it only verifies).
    """
    turns: list[str] = []
    said: list[str] = []
    reply: str | None = ""
    while reply is not None and len(turns) < MAX_TURNS:
        if turns:
            said.append(reply)
        turns.append(task.demonstrate_turn(problem, turns, rng, error_rate))
        said.append(turns[-1])
        reply = task.reply(problem, turns)
    return said
