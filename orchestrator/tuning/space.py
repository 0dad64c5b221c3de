"""The search space: dotted paths of an arm's configuration, in an order in which conditions are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from math import log
from pathlib import Path
from typing import Any, Protocol

from orchestrator.configuration.yaml_files import merge
from orchestrator.errors import did_you_mean
from orchestrator.tuning.models import Choice, Dimension
from tasks import own_code

Params = dict[str, Any]
"""Path to value, of the parameters that are searched under their conditions."""


class Suggests(Protocol):
    """The part of an Optuna trial that is needed."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = ..., log: bool = ...
    ) -> float: ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = ..., log: bool = ...) -> int: ...

    def suggest_categorical(self, name: str, choices: Any) -> Any: ...


def in_order(space: Mapping[str, Dimension]) -> dict[str, Dimension]:
    """The space with every parameter after those that its conditions name.

    Raises:
        ValueError: a condition names something that is not searched, a value that cannot be, or itself; a choice
            is code of the user's own by a relative path.
    """
    ordered: dict[str, Dimension] = {}
    waiting = dict(space)
    for path, dimension in space.items():
        _check_code(path, dimension)
        _check_conditions(path, dimension, space)
    while waiting:
        ready = [path for path, each in waiting.items() if all(other in ordered for other in each.when)]
        if not ready:
            raise ValueError(f"{next(iter(waiting))}.when: the conditions go in a circle; remove one")
        for path in ready:
            ordered[path] = waiting.pop(path)
    return ordered


def _check_code(path: str, dimension: Dimension) -> None:
    """A trial has no folder that code could be relative to."""
    for choice in dimension.choices or ():
        if own_code.is_own(choice) and ".py:" in str(choice) and not Path(str(choice)).is_absolute():
            raise ValueError(
                f"{path}.choices: code must have an absolute path in a study's space, got {choice!r}; write the whole path"
            )


def suggest(trial: Suggests, space: Mapping[str, Dimension]) -> Params:
    """Ask a trial for every parameter that is searched under the values of those before it."""
    params: Params = {}
    for path, dimension in space.items():
        if is_active(dimension, params):
            params[path] = _suggest(trial, path, dimension)
    return params


def is_active(dimension: Dimension, params: Mapping[str, Any]) -> bool:
    """Whether the conditions of a parameter hold."""
    return all(
        other in params and params[other] in _as_tuple(wanted) for other, wanted in dimension.when.items()
    )


def labels(paths: Iterable[str]) -> dict[str, str]:
    """Each path by as many of its last keys as tell it from the others: ``law.kp`` where there are two ``kp``."""
    every = list(paths)

    def tail(path: str, num: int) -> str:
        return ".".join(path.split(".")[-num:])

    short: dict[str, str] = {}
    for path in every:
        lengths = range(2 if tail(path, 1).isdecimal() else 1, path.count(".") + 2)
        unique = (
            tail(path, num) for num in lengths if [tail(p, num) for p in every].count(tail(path, num)) == 1
        )
        short[path] = next(unique, path)
    return short


def written(params: Mapping[str, Any], space: Mapping[str, Dimension]) -> str:
    """Parameters as a text for people: ``kp 0.25, kind ema``."""
    names = labels(space)
    return ", ".join(f"{names[path]} {short(value)}" for path, value in params.items())


def short(value: Any) -> str:
    """A value as a text for people: a number by its first four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def overlay(params: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """``{"a.b": 1}`` as ``{"a": {"b": 1}}``, to be merged over a configuration.

    A number in a path is a place in the configuration's list, which is then given whole: ``limits.1`` is the
    second of ``limits``.
    """
    nested: dict[str, Any] = {}
    for path, value in params.items():
        *parents, last = path.split(".")
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return {key: _with_lists(value, base.get(key)) for key, value in nested.items()}


def _with_lists(over: Any, below: Any) -> Any:
    if not isinstance(over, dict):
        return over
    if isinstance(below, list):
        return [_laid(over[str(i)], each) if str(i) in over else each for i, each in enumerate(below)]
    known = below if isinstance(below, dict) else {}
    return {key: _with_lists(value, known.get(key)) for key, value in over.items()}


def _laid(over: Any, below: Any) -> Any:
    """``over`` in the place of ``below``, of which it may say a part."""
    whole = _with_lists(over, below)
    return merge(below, whole) if isinstance(below, dict) and isinstance(whole, dict) else whole


def corners(space: Mapping[str, Dimension]) -> Iterator[tuple[str, Params]]:
    """Candidates that have to be valid if all of the space is to be: every choice, and both ends of every interval.

    Choices that conditions name are combined with each other; everything else is varied one at a time
    about the middle.  Yields the parameter that is varied, and the whole candidate.
    """
    leaders = {name for dimension in space.values() for name in dimension.when}
    combined = {path: space[path].choices or () for path in space if path in leaders}
    for combination in product(*combined.values()):
        middle = _middle(space, dict(zip(combined, combination, strict=True)))
        yield next(iter(combined), next(iter(space))), middle
        for path in middle.keys() - combined.keys():
            for value in _ends(space[path]):
                yield path, middle | {path: value}


def _middle(space: Mapping[str, Dimension], chosen: Params) -> Params:
    middle: Params = {}
    for path, dimension in space.items():
        if is_active(dimension, middle):
            middle[path] = chosen[path] if path in chosen else centre(dimension)
    return middle


def _ends(dimension: Dimension) -> tuple[Any, ...]:
    if dimension.choices is not None:
        return dimension.choices
    assert dimension.low is not None
    assert dimension.high is not None
    ends = (dimension.low, dimension.high)
    return tuple(int(end) for end in ends) if dimension.integer else ends


def centre(dimension: Dimension) -> Any:
    """The middle of an interval, on its own scale and grid; the first of several choices."""
    if dimension.choices is not None:
        return dimension.choices[0]
    low, high = dimension.low, dimension.high
    assert low is not None
    assert high is not None
    value = (low * high) ** 0.5 if dimension.log else (low + high) / 2
    if dimension.step is not None:
        value = low + dimension.step * round((value - low) / dimension.step)
    return round(value) if dimension.integer else value


def distance(one: Mapping[str, Any], other: Mapping[str, Any], space: Mapping[str, Dimension]) -> float:
    """Largest difference in any parameter, as a share of its range; 1 where a choice differs."""
    if one.keys() != other.keys():
        return 1.0
    return max((_share(space[path], one[path], other[path]) for path in one), default=0.0)


def _share(dimension: Dimension, one: Any, other: Any) -> float:
    if dimension.choices is not None:
        return float(one != other)
    assert dimension.low is not None
    assert dimension.high is not None
    scale = log if dimension.log else float
    return abs(scale(one) - scale(other)) / (scale(dimension.high) - scale(dimension.low))


def _suggest(trial: Suggests, path: str, dimension: Dimension) -> Any:
    if dimension.choices is not None:
        return trial.suggest_categorical(path, list(dimension.choices))
    assert dimension.low is not None
    assert dimension.high is not None
    if dimension.integer:
        step = int(dimension.step or 1)
        return trial.suggest_int(path, int(dimension.low), int(dimension.high), step=step, log=dimension.log)
    return trial.suggest_float(path, dimension.low, dimension.high, step=dimension.step, log=dimension.log)


def _check_conditions(path: str, dimension: Dimension, space: Mapping[str, Dimension]) -> None:
    for other, wanted in dimension.when.items():
        where = f"{path}.when.{other}"
        choices = space[other].choices if other in space else None
        if choices is None:
            able = [name for name, each in space.items() if each.choices is not None]
            raise ValueError(f"{where}: names no parameter with choices; {did_you_mean(other, able)}")
        for value in _as_tuple(wanted):
            if value not in choices:
                raise ValueError(
                    f"{where}: {value!r} is none of its choices ({', '.join(map(repr, choices))}); "
                    "correct one of the two"
                )


def _as_tuple(wanted: Choice | tuple[Choice, ...]) -> tuple[Choice, ...]:
    return wanted if isinstance(wanted, tuple) else (wanted,)
