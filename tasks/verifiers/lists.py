"""Answers that are JSON, or pairs of a letter and a digit: every part is checked to be of its kind."""

from __future__ import annotations

from tasks.verifiers.grammars import Facts, integer, json_value, list_of_text, lists_of_text, number


def sorted_numbers(answer: str, gold: str, facts: Facts) -> bool:
    """The given numbers in the order asked for, each by its value; as text, in either kind of quotes, or bare."""
    given = list_of_text(json_value(answer.replace("'", '"'), numbers_as_text=True))
    if given is None:
        return False
    values = [number(text) for text in given]
    return None not in values and values == [number(text) for text in facts["sorted_numbers"]]


def same_groups(answer: str, gold: str, facts: Facts) -> bool:
    """The same groups of words, in any order outside and inside of them."""
    groups = lists_of_text(json_value(answer))
    return groups is not None and _in_order(groups) == _in_order(facts["solution"])


def _in_order(groups: list[list[str]]) -> list[list[str]]:
    return sorted(sorted(group) for group in groups)


def same_partitions(answer: str, gold: str, facts: Facts) -> bool:
    """The same partitions, in any order, each with its parts in their order."""
    partitions = lists_of_text(json_value(answer))
    return partitions is not None and _as_set(partitions) == _as_set(facts["solution"])


def _as_set(partitions: list[list[str]]) -> set[tuple[str, ...]]:
    return {tuple(partition) for partition in partitions}


def same_cells(answer: str, gold: str, facts: Facts) -> bool:
    """The same nested lists of whole numbers: no cell more, and ``true`` is no 1."""
    cells, right = json_value(answer), json_value(gold)
    return cells is not None and cells == right and repr(cells) == repr(right)


def proper_colouring(answer: str, gold: str, facts: Facts) -> bool:
    """A colour for every vertex, one of those allowed, and never the same at both ends of an edge."""
    puzzle, colours = facts["puzzle"], json_value(answer)
    if not isinstance(colours, dict):
        return False
    of = [colours.get(str(vertex)) for vertex in puzzle["vertices"]]
    if not all(type(colour) is int and colour in puzzle["color_options"] for colour in of):
        return False
    return all(colours[str(one)] != colours[str(other)] for one, other in puzzle["edges"])


def digits_for_letters(answer: str, gold: str, facts: Facts) -> bool:
    """``A=7,G=0,…``: a digit for every letter, none used twice, so that the sum comes out."""
    pairs = [[part.strip() for part in pair.split("=")] for pair in answer.split(",")]
    if any(len(pair) != 2 for pair in pairs):
        return False
    digits = {letter: integer(digit) for letter, digit in pairs}
    words = [*facts["words_letters"], facts["result_letters"]]
    if len(digits) != len(pairs) or set(digits) != set("".join(words)):
        return False
    used = [digit for digit in digits.values() if digit is not None and 0 <= digit <= 9]
    if len(set(used)) != len(digits):
        return False
    if not facts["allow_leading_zero"] and any(digits[word[0]] == 0 for word in words):
        return False
    *terms, total = [int("".join(str(digits[letter]) for letter in word)) for word in words]
    return sum(terms) == total
