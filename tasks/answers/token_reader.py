"""Reads tokens one after the other, for parsers by recursive descent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(kw_only=True)
class TokenReader:
    """A place in a list of tokens; a parser adds a method for each line of its grammar."""

    tokens: Sequence[str]
    place: int = 0

    @property
    def next(self) -> str:
        """The token at the place; empty at the end."""
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self) -> str:
        """The token at the place, behind which the reader then stands."""
        token = self.next
        self.place += 1
        return token
