"""Answers that are words: equal to the dataset's own up to white space, case, or the order of clauses."""

from __future__ import annotations

import re

from tasks.verifiers.grammars import Facts, rows


def same_rows(answer: str, gold: str, facts: Facts) -> bool:
    """The same words in the same lines.  It also serves for grids, and for answers of one word."""
    return rows(answer) == rows(gold)


def same_words_in_any_case(answer: str, gold: str, facts: Facts) -> bool:
    """The same words in the same order, in capitals or not."""
    return answer.lower().split() == gold.lower().split()


def same_letters_in_any_case(answer: str, gold: str, facts: Facts) -> bool:
    """The same characters, spaces left out: a word that may have been spelled letter by letter."""
    return "".join(answer.lower().split()) == "".join(gold.lower().split())


def same_list_of_words(answer: str, gold: str, facts: Facts) -> bool:
    """The sorted words, all of them and no other, with commas between."""
    return [word.strip() for word in answer.split(",")] == list(facts["sorted_words"])


def palindrome_of_the_letters(answer: str, gold: str, facts: Facts) -> bool:
    """Any palindrome that is made of the given letters, each used once."""
    letters = answer.strip().lower()
    return letters == letters[::-1] and sorted(letters) == sorted(facts["letters"])


def same_roles(answer: str, gold: str, facts: Facts) -> bool:
    """Who is what, in any order: nothing but names, each with its role, and the words between them."""
    roles = _roles(answer)
    return roles is not None and sorted(roles) == sorted(_roles(gold) or [])


def _roles(text: str) -> list[tuple[str, str]] | None:
    words = [word for word in re.sub("[.,()]", " ", text.lower()).split() if word not in _BETWEEN]
    return list(zip(words[::2], words[1::2], strict=True)) if len(words) % 2 == 0 else None


_BETWEEN = frozenset({"is", "a", "an", "and"})
