"""A beginner's slips: symbols of a worked solution replaced at random."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from string import ascii_lowercase, ascii_uppercase, digits


def corrupt(text: str, symbols: str, rng: Random, error_rate: float) -> str:
    """The text with each character that is in ``symbols`` replaced, with ``error_rate``, by another of them.

    No chance is drawn at ``error_rate=0``, and the text comes back as it is.
    """
    if not 0 <= error_rate <= 1:
        raise ValueError(f"error_rate must be between 0 and 1, got {error_rate}")
    if error_rate == 0:
        return text
    return "".join(_slip(char, symbols, rng, error_rate) if char in symbols else char for char in text)


def _slip(char: str, symbols: str, rng: Random, error_rate: float) -> str:
    if rng.random() >= error_rate or len(symbols) < 2:
        return char
    return rng.choice([other for other in symbols if other != char])


def corrupt_text(text: str, rng: Random, error_rate: float) -> str:
    """Free text with slips that stay in character: digits for digits, letters for letters of their case."""
    for symbols in (digits, ascii_lowercase, ascii_uppercase):
        text = corrupt(text, symbols, rng, error_rate)
    return text


def alphabet_of(texts: Iterable[str]) -> str:
    """The characters of the texts, sorted, with those that `corrupt_text` can put in their place."""
    seen = set().union(*texts)
    slips = [
        symbols for symbols in (digits, ascii_lowercase, ascii_uppercase) if not seen.isdisjoint(symbols)
    ]
    return "".join(sorted(seen.union(*slips)))
