r"""Layouts of a question and its answer in well-known data sets of mathematics.

Read off the data sets' own cards:

    gsm8k   openai/gsm8k, subset main: ``question``; ``answer`` is the working, then ``#### 72``
    math    DigitalLearningGmbH/MATH-lighteval, EleutherAI/hendrycks_math: ``problem``, ``level`` ("Level 5"),
            ``type`` ("Algebra"), ``solution`` with the answer in its last ``\boxed{}``;
            HuggingFaceH4/MATH-500: the same with ``subject``, and ``level`` a number
    dapo    BytedTsinghua-SIA/DAPO-Math-17k: ``prompt`` is a list of messages ``{role, content}``,
            of which a first one of the system is kept apart; ``reward_model`` is ``{ground_truth, style}``; every row is there a hundred times
    plain   ``question`` and ``answer``, as they are
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tasks.answers.extraction import boxed_answer, marked_answer
from tasks.base import Problem
from tasks.data.columns import domain_at, is_number, shown, text_at, value_at, written_at
from tasks.data.rows import Row


def _whole(text: str) -> str | None:
    return text.strip()


def _after_hashes(text: str) -> str | None:
    answer = marked_answer(text, "####")
    return re.sub(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))", "", answer) if answer else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Columns, of each the first that a row has, and how the answer stands in its column."""

    question: tuple[str, ...]
    answer: tuple[str, ...]
    domain: tuple[str, ...] = ()
    difficulty: tuple[str, ...] = ()
    find: Callable[[str], str | None] = _whole
    """Gives the answer in the text of its column, None where it is not there."""
    wanted: str = "an answer"
    """What ``find`` looks for, for messages."""

    def problem(self, row: Row, place: str, default_domain: str) -> Problem:
        """The problem of a row.

        Raises:
            ValueError: a column is not there, or does not hold what it should.
        """
        system, question = _question(self.question, row, place)
        return Problem(
            system=system,
            prompt=question,
            answer=self._answer(row, place),
            domain=domain_at(_present(self.domain, row), row, place) if self.domain else default_domain,
            difficulty=_level(self.difficulty, row, place) if self.difficulty else 0.0,
        )

    def _answer(self, row: Row, place: str) -> str:
        key = _present(self.answer, row)
        number = written_at(key, row, place, "answer_key")
        if number is not None:
            return number
        answer = self.find(text_at(key, row, place, "answer_key"))
        if not answer:
            raise ValueError(
                f"{place}: {key!r} does not hold {self.wanted}; choose another layout, or fix the row"
            )
        return answer


LAYOUTS: dict[str, Layout] = {
    "plain": Layout(question=("question",), answer=("answer",)),
    "gsm8k": Layout(
        question=("question",), answer=("answer",), find=_after_hashes, wanted="#### and an answer"
    ),
    "math": Layout(
        question=("problem",),
        answer=("solution",),
        domain=("subject", "type"),
        difficulty=("level",),
        find=boxed_answer,
        wanted=r"an answer in \boxed{}",
    ),
    "dapo": Layout(question=("prompt",), answer=("reward_model.ground_truth",)),
}
"""By the name that a task gives."""


def _present(keys: tuple[str, ...], row: Row) -> str:
    """The first key that the row has; else the first, for the message."""
    return next((key for key in keys if key in row), keys[0])


def _question(keys: tuple[str, ...], row: Row, place: str) -> tuple[str, str]:
    """The system's message, empty without one, and the question: a text, or a list of messages to the policy."""
    key = _present(keys, row)
    value = value_at(key, row, place, "question_key")
    if not isinstance(value, list):
        return "", text_at(key, row, place, "question_key")
    for message in value:
        if not (isinstance(message, dict) and isinstance(message.get("content"), str)):
            raise ValueError(
                f"{place}: {key!r} must be text or messages with a role and content, got {shown(message)}"
            )
        if message.get("role") not in ("system", "user"):
            raise ValueError(
                f"{place}: {key!r} has a message of the role {message.get('role')!r}, and only those of system "
                "and user come before a response; remove it"
            )
    if any(message["role"] == "system" for message in value[1:]):
        raise ValueError(
            f"{place}: {key!r} has a message of the system after another one; put what it says into the first"
        )
    said = {role: [m["content"] for m in value if m["role"] == role] for role in ("system", "user")}
    question = "\n\n".join(said["user"])
    if not question.strip():
        raise ValueError(f"{place}: {key!r} must not be blank; fill it in or remove the row")
    return "".join(said["system"]), question


def _level(keys: tuple[str, ...], row: Row, place: str) -> float:
    """A number, or the one in a text such as "Level 5"; 0 for a text without one ("Level ?")."""
    value = value_at(_present(keys, row), row, place, "difficulty_key")
    if isinstance(value, str):
        number = re.search(r"[0-9]+(?:\.[0-9]+)?", value)
        return float(number[0]) if number else 0.0
    if not is_number(value) or not 0 <= value < float("inf"):
        raise ValueError(
            f"{place}: {_present(keys, row)!r} must be a number from 0 up, or text with one, got {shown(value)}"
        )
    return float(value)
