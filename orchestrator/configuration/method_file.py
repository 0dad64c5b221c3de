"""A method preset as its file states it, with the source of each of its constants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import model_validator

from orchestrator.configuration.names import Name
from orchestrator.configuration.part_schema import Strict
from orchestrator.errors import did_you_mean

Reading = Literal["code", "paper", "documentation", "notes", "memory", "ours", "default"]
MARKS: dict[Reading, str] = {
    "code": "c",
    "paper": "p",
    "documentation": "d",
    "notes": "s",
    "memory": "u",
    "ours": "o",
    "default": "o",
}
"""The letter that docs/methods.md has for each."""
BY_OTHERS = ("code", "paper", "documentation", "notes")
SECTIONS = ("loops", "learner", "rollout", "policy", "guardrails")


class ConstantSource(Strict):
    """The source of a constant of a preset."""

    read: Reading
    """Kind of source: the authors' ``code``, the ``paper``, ``documentation`` or an abstract, somebody's ``notes`` on
    it, or ``memory``; or the number is ``ours``, or the ``default`` of the part."""
    where: str = ""
    """File, section or notes that it was read in; what else there is to say."""

    @model_validator(mode="after")
    def _names_it(self) -> ConstantSource:
        if self.read in BY_OTHERS and not self.where:
            raise ValueError(f"where must say which {self.read} it was read in; add it")
        return self


class MethodConfig(Strict):
    """A preset: a published method as data."""

    method: Name
    """Name of the preset, which is the name of its file."""
    summary: str
    """One sentence for lists and reports."""
    source: str
    """Paper and reference code."""
    notes: str = ""
    """Constants that are unverified, and differences between paper and code."""
    constants: dict[str, ConstantSource] = {}
    """Origin of each number below, by its dotted path; all of them or, in a preset of your own, none."""
    loops: dict[Name, Any] = {}
    """Feedback loops by name; empty leaves entropy alone."""
    learner: dict[str, Any] = {}
    """Keys merged over the campaign's ``learner``."""
    rollout: dict[str, Any] = {}
    """Keys merged over the campaign's ``rollout``."""
    policy: dict[str, Any] = {}
    """Keys merged over the campaign's ``policy``."""
    guardrails: dict[str, Any] = {}
    """Keys merged over the campaign's ``guardrails``."""

    @model_validator(mode="after")
    def _all_or_none(self) -> MethodConfig:
        numbers = self.numbers()
        for path in self.constants:
            if path not in numbers:
                raise ValueError(
                    f"constants.{path}: is no number of this preset; {did_you_mean(path, numbers)}"
                )
        lacking = [path for path in numbers if path not in self.constants]
        if self.constants and lacking:
            raise ValueError(f"constants: must say where {', '.join(lacking)} was read; add it")
        return self

    def numbers(self) -> dict[str, Any]:
        """Every number of the preset, and every list with one, by its dotted path."""
        return dict(_numbers({name: getattr(self, name) for name in SECTIONS}))


def _numbers(node: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        path = f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{path}.")
        elif any(is_number(each) for each in (value if isinstance(value, list | tuple) else [value])):
            yield path, value


def is_number(value: Any) -> bool:
    """Whether a value is a constant rather than a choice."""
    return isinstance(value, int | float) and not isinstance(value, bool)
