"""Sentences that users read begin with their subject, and say it in the field's words."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from typer.main import get_command

from orchestrator.cli import app

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
