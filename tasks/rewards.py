"""Rewards of a user's own: Python functions in the place of a task's grader, or beside one another.

A function takes, by their names, what it needs of ``prompt``, ``response``, ``answer`` and ``facts``.  It gives a
number from 0 (wrong) to 1 (right), or several by name: their mean counts, or the one that is called ``score``, and
then the others are only recorded.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from tasks import own_code

ARGUMENTS = ("prompt", "response", "answer", "facts")
"""What a function can ask for."""
SCORE = "score"
"""The number by this name is the reward; without one it is the mean of all."""
MOST_PARTS = 32
"""Named numbers of one response."""
MOST_NAMES = 64
"""Different names of such numbers in a run: each is a metric."""
PART_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\- ]{0,59}(/[A-Za-z0-9_][A-Za-z0-9_.\- ]{0,59})?")
"""Names that become those of metrics: of a function, or of one of its numbers after that."""

Parts = Mapping[str, float]


class Score(NamedTuple):
    """The reward of one response, and the numbers that it is made of, by name."""

    value: float
    parts: Parts


@dataclass(frozen=True, kw_only=True)
class Reward:
    """A function that rewards responses, and its weight among several."""

    function: str
    """The function: ``rewards.py:partial_credit``, relative to the campaign file, or ``module.function``."""

    weight: float = 1.0
    """Relative weight: the reward is the mean of all functions, each with its own."""

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise ValueError(f"weight must be above 0 and finite, got {self.weight}")

    @property
    def name(self) -> str:
        """What its numbers are called: ``partial_credit``."""
        return own_code.name_of(self.function)

    def load(self) -> Callable[..., Any]:
        """The function, imported and looked at, not called.

        Raises:
            ValueError: it cannot be found or imported, is no plain function, or takes what no reward is given.
        """
        function = own_code.load(self.function)
        _arguments_of(function, self.function)
        return function  # type: ignore[no-any-return]

    def score(self, given: Mapping[str, Any]) -> Score:
        """What the function gives, with its numbers by name; raises whatever it raises.

        Raises:
            ValueError: it gives no number between 0 and 1, nor such numbers by name.
        """
        function, wanted = _loaded(self.function)
        result = function(**{name: given[name] for name in wanted})
        if not isinstance(result, Mapping):
            value = _fraction(self.name, result)
            return Score(value, {self.name: value})
        if not 0 < len(result) <= MOST_PARTS:
            raise ValueError(f"{self.name} must give 1 to {MOST_PARTS} numbers, got {len(result)}")
        parts = {f"{self.name}/{name}": number for name, number in result.items()}
        for name in parts:
            if not PART_NAME.fullmatch(name):
                raise ValueError(
                    f"names of numbers must be short and of letters, digits, _, . and -, got {name!r}"
                )
        if SCORE in result:
            value = _fraction(f"{self.name}/{SCORE}", result[SCORE])
            return Score(value, {name: _number(name, number) for name, number in parts.items()})
        fractions = {name: _fraction(name, number) for name, number in parts.items()}
        return Score(math.fsum(fractions.values()) / len(fractions), fractions)


def combined(rewards: Sequence[Reward], given: Mapping[str, Any]) -> Score:
    """The weighted mean of several rewards, sum of w r over sum of w: 1 where all of them are 1."""
    scores = [reward.score(given) for reward in rewards]
    total = math.fsum(reward.weight for reward in rewards)
    value = math.fsum(reward.weight * score.value for reward, score in zip(rewards, scores)) / total
    parts = {name: number for score in scores for name, number in score.parts.items()}
    return Score(min(value, 1.0), parts)  # not above 1 by rounding


@lru_cache(maxsize=32)
def _loaded(reference: str) -> tuple[Callable[..., Any], tuple[str, ...]]:
    """A function and what it asks for, found once in a process that grades."""
    function = own_code.load(reference)
    return function, _arguments_of(function, reference)


def _arguments_of(function: Any, reference: str) -> tuple[str, ...]:
    """The names that a function is called with.

    Raises:
        ValueError: it cannot be called with them.
    """
    known = ", ".join(ARGUMENTS)
    if isinstance(function, type) or not callable(function):
        raise ValueError(
            f"{reference} must be a function of {known}, got a {type(function).__name__}; name one"
        )
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise ValueError(
            f"{reference} must give its number by return, got an async function or a generator; write a plain one"
        )
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{reference} has arguments that cannot be read; wrap it in a function of {known}"
        ) from error
    wanted = []
    for name, parameter in parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            return ARGUMENTS
        if name in ARGUMENTS and parameter.kind is not parameter.POSITIONAL_ONLY:
            wanted.append(name)
        elif parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL:
            raise ValueError(
                f"{reference} asks for {name!r}, and a reward is given {known}, by name; rename that argument, or "
                "give it a default"
            )
    if "response" not in wanted:
        raise ValueError(
            f"{reference} must take 'response', got ({', '.join(parameters)}); add that argument"
        )
    return tuple(wanted)


def _number(name: str, value: Any) -> float:
    if isinstance(value, str | bytes) or value is None:
        raise ValueError(f"{name} must be a number, got {value!r:.60}; return one")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must be a number, got {value!r:.60}; return one") from error
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}")
    return number


def _fraction(name: str, value: Any) -> float:
    number = _number(name, value)
    if not 0 <= number <= 1:
        raise ValueError(f"{name} must be between 0 (wrong) and 1 (right), got {number:g}; scale it")
    return number
