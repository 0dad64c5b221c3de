"""The procedural datasets of reasoning-gym, each by its name, with verifiers of our own.

The library is a source of problems only.  Its verifiers evaluate some of what they are given (``eval``,
sympy's ``parse_expr``) and give full credit to some of what is wrong, so none of them ever sees a response.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from random import Random
from typing import Any, ClassVar, Literal

from tasks.answers.extraction import normalised, tagged_answer
from tasks.base import Problem, Split, Task
from tasks.corruption import alphabet_of, corrupt_text
from tasks.kinds.reasoning_gym_catalogue import BROKEN, VERIFIER_ONLY, WITH_EXPRESSION
from tasks.splits import draw
from tasks.verifiers.catalogue import VERIFIERS
from tasks.verifiers.text import same_rows

NUM_ALPHABET_PROBLEMS = 64
MAX_ANSWER_LENGTH = 20_000
"""An answer may have as many characters, or twice as many as the dataset's own; what is longer is wrong."""


@dataclass(frozen=True, kw_only=True)
class ReasoningGym(Task):
    """One dataset of reasoning-gym, its answers compared to the letter, or read by a verifier.

    The answer is what the last ``<answer>…</answer>`` holds, or else the whole response.  The score is
    0 or 1, and no answer is ever evaluated: the verifiers of ``tasks.verifiers`` parse.  The domain is the
    dataset's name; the difficulty is the sum of the dials that a problem's metadata reports, 0 where it
    reports none.
    """

    kind: ClassVar[str] = "reasoning_gym"

    dataset: str
    """Name of the dataset, ``chain_sum`` for instance."""

    config: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the dataset, all but ``seed`` and ``size``; plain numbers, text and lists."""

    size: int = 10_000
    """Problems in the dataset, training and held-out ones together; 2 to 1,000,000."""

    prompt: Literal["question", "expression"] = "question"
    """The dataset's question, or only its sum, ``4 + 3 =``, for the datasets that are sums."""

    scorer: Literal["exact", "verifier"] = "exact"
    """Equality with the dataset's answer but for white space, or a verifier where many answers are right.

    Datasets that come without an answer (``graph_color``, ``rubiks_cube``…) always use the verifier.
    A verifier reads lines: of an answer that is a grid or a list of moves, each line stands in its own.
    """

    def __post_init__(self) -> None:
        _guard_name(self.dataset)
        for reserved in ("seed", "size"):
            if reserved in self.config:
                raise ValueError(
                    f"config must not set {reserved}: it is a matter of the task, not the dataset"
                )
        if not 2 <= self.size <= 1_000_000:
            raise ValueError(f"size must be between 2 and 1000000, got {self.size}")
        if self.prompt not in ("question", "expression"):
            raise ValueError(f"prompt must be question or expression, got {self.prompt!r}")
        if self.prompt == "expression" and self.dataset not in WITH_EXPRESSION:
            raise ValueError(
                f"prompt must be question for {self.dataset}: expression is for {', '.join(WITH_EXPRESSION)}"
            )
        if self.scorer not in ("exact", "verifier"):
            raise ValueError(f"scorer must be exact or verifier, got {self.scorer!r}")
        _guard_config(self.dataset, self.config, self.size)

    def prepare(self) -> None:
        if self.scorer == "verifier" or self.dataset in VERIFIER_ONLY:
            self._is_right("", 0)

    def problem(self, split: Split, seed: int, index: int) -> Problem:
        return draw(self._generate, split, seed, index)

    def grade(self, problem: Problem, response: str) -> float:
        answer = tagged_answer(response)
        if problem.facts["has_answer"] and self.scorer == "exact":
            return float(normalised(answer) == normalised(problem.answer))
        return float(self._is_right(answer, problem.facts["entry"]))

    def demonstrate(self, problem: Problem, rng: Random, error_rate: float) -> str:
        if not problem.facts["has_answer"]:
            raise ValueError(f"dataset {self.dataset} has no answers to show: it only verifies")
        return corrupt_text(problem.answer, rng, error_rate)

    def alphabet(self) -> str:
        """The characters of the first 64 training problems and their answers."""
        problems = [self.problem("train", 0, index) for index in range(NUM_ALPHABET_PROBLEMS)]
        return alphabet_of(text for problem in problems for text in (problem.prompt, problem.answer))

    def _generate(self, rng: Random) -> Problem:
        index = rng.randrange(self.size)
        entry = self._entry(index)
        answer = entry["answer"]
        return Problem(
            prompt=entry["question"] if self.prompt == "question" else f"{entry['metadata']['expression']} =",
            answer="" if answer is None else answer,
            domain=self.dataset,
            difficulty=_difficulty(entry["metadata"]),
            facts={"entry": index, "has_answer": answer is not None},
        )

    def _is_right(self, answer: str, index: int) -> bool:
        """The dataset's own answer is right even where its settings make it too long for the verifier."""
        entry = self._entry(index)
        gold = entry["answer"] or ""
        if len(answer) > max(MAX_ANSWER_LENGTH, 2 * len(gold)):
            return False
        if entry["answer"] is not None and same_rows(answer, gold, {}):
            return True
        return VERIFIERS[self.dataset](answer, gold, entry["metadata"])

    def _entry(self, index: int) -> Mapping[str, Any]:
        return _entry(self.dataset, json.dumps(self.config, sort_keys=True), self.size, index)


@lru_cache(maxsize=8)
def _load(dataset: str, config: str, size: int) -> Any:
    """The dataset itself, made once in each process.  Its seed is fixed: ``draw`` picks among its entries."""
    import reasoning_gym

    return reasoning_gym.create_dataset(dataset, seed=0, size=size, **json.loads(config))


@lru_cache(maxsize=256)
def _entry(dataset: str, config: str, size: int, index: int) -> Mapping[str, Any]:
    """One problem of a dataset, kept for the other responses of its group.  A verifier only reads it."""
    entry: Mapping[str, Any] = _load(dataset, config, size)[index]
    return entry


def _guard_name(name: str) -> None:
    from reasoning_gym.factory import DATASETS

    if name in BROKEN:
        raise ValueError(f"dataset {name} is refused: {BROKEN[name]}; name another dataset")
    if name in DATASETS and name not in VERIFIERS:
        raise ValueError(
            f"dataset {name} is refused: this version of reasoning-gym has it, but no verifier of ours reads "
            "its answers; name another dataset"
        )
    if name not in DATASETS:
        raise ValueError(
            f"dataset must be one of reasoning-gym's, got {name!r}{_did_you_mean(name, VERIFIERS)}"
        )


def _guard_config(name: str, config: Mapping[str, Any], size: int) -> None:
    from reasoning_gym.factory import DATASETS

    known = set(DATASETS[name][1].__dataclass_fields__)
    for key in config:
        if key not in known:
            raise ValueError(f"config has no {key!r} for {name}{_did_you_mean(key, known)}")
    try:
        _load(name, json.dumps(config, sort_keys=True), size)
    except (AssertionError, TypeError, ValueError) as error:
        raise ValueError(f"config is refused by {name}: {error}") from error


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"


def _difficulty(metadata: Mapping[str, Any]) -> float:
    """The sum of what this problem has on each dial: 3 terms of 2 digits are 5."""
    dials = metadata.get("difficulty")
    if not isinstance(dials, Mapping):
        return float(dials) if isinstance(dials, int | float) else 0.0
    drawn = [metadata.get(name, setting) for name, setting in dials.items()]
    return float(sum(value for value in drawn if isinstance(value, int | float)))
