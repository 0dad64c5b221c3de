"""Sentences that users read begin with their subject, and say it in the field's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from orchestrator.cli import app
from orchestrator.commands.schema import FILES, json_schema

ROOT = Path(__file__).parents[1]
PAGES = [
    page
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
    if page.name != "log.md"  # a record of its days
]

BEGINS_BADLY = re.compile(r"(?:^|[.;:] )(Of|That|Where|Which) ")
NOT_THE_FIELDS = re.compile(
    r"\b(nobody|whoever|anew|foretold|exam|told from|came of|taken up|take up|in vain|held against)\b"
)


def help_texts() -> Iterator[tuple[str, str]]:
    """Where each help text stands, and the text."""
    for name, command in get_command(app).commands.items():
        yield name, command.help or ""
        for parameter in command.params:
            yield f"{name} {parameter.name}", getattr(parameter, "help", None) or ""


@pytest.mark.parametrize(("place", "text"), list(help_texts()))
def test_help_is_plain_english(place, text):
    assert text, f"{place} has no help"
    assert not (found := BEGINS_BADLY.search(text)), f"{place} begins a sentence with {found and found[1]}"
    assert not (found := NOT_THE_FIELDS.search(text)), f"{place} says {found and found[0]!r}"
    assert text[0].isupper()
    assert text.rstrip().endswith(".")


def descriptions(node: Any) -> Iterator[tuple[str, str]]:
    """Each key of a schema, at any depth, and what it is said to mean."""
    if isinstance(node, dict):
        for key, value in (node["properties"] if isinstance(node.get("properties"), dict) else {}).items():
            yield key, value["description"]
        for value in node.values():
            yield from descriptions(value)
    elif isinstance(node, list):
        for value in node:
            yield from descriptions(value)


@pytest.mark.parametrize("of", FILES)
def test_the_meaning_of_a_key_is_plain_english(of):
    for key, text in descriptions(json_schema(of)):
        for rule in (BEGINS_BADLY, NOT_THE_FIELDS):
            assert not (found := rule.search(text)), f"{key} says {found and found[0]!r}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_are_plain_english(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    for paragraph in re.split(r"\n\n|\n(?=[-|#])", text):
        plain = " ".join(paragraph.split()).lstrip("-*#| ")
        assert not (found := BEGINS_BADLY.search(plain)), f"{found and found[0]!r} in {plain}"
        assert not (found := NOT_THE_FIELDS.search(plain.replace("exam", ""))), (
            f"{found and found[0]!r} in {plain}"
        )
