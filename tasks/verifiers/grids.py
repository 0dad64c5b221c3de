"""Answers that are grids, or paths through one, of which several may be right."""

from __future__ import annotations

from fractions import Fraction

from tasks.verifiers.grammars import Facts, number, rows

_STEPS = {"right": (0, 1), "down": (1, 0), "left": (0, -1), "up": (-1, 0)}


def placed_queens(answer: str, gold: str, facts: Facts) -> bool:
    """Any of the boards that complete the given one."""
    board = rows(answer)
    return any(board == rows(valid) for valid in facts["valid_answers"])


def filled_kakurasu(answer: str, gold: str, facts: Facts) -> bool:
    """A grid of 0 and 1 in which every row weighs its columns, and every column its rows, to the right sum."""
    grid = ["".join(words) for words in rows(answer.translate({ord(mark): " " for mark in "[],"}))]
    if len(grid) != facts["n_rows"] or any(len(row) != facts["n_cols"] for row in grid):
        return False
    if not set("".join(grid)) <= {"0", "1"}:
        return False
    columns = ["".join(column) for column in zip(*grid, strict=True)]
    sums = [[_weight(cells) for cells in lines] for lines in (grid, columns)]
    return sums == [facts["row_sums"], facts["col_sums"]]


def _weight(cells: str) -> int:
    return sum(place for place, cell in enumerate(cells, start=1) if cell == "1")


def pooled_matrix(answer: str, gold: str, facts: Facts) -> bool:
    """A matrix of the right shape with every number within a hundredth of the right one: means are rounded."""
    cells, right = rows(answer), rows(gold)
    if [len(row) for row in cells] != [len(row) for row in right]:
        return False
    pairs = [pair for row, other in zip(cells, right, strict=True) for pair in zip(row, other, strict=True)]
    return all(_is_near(number(text), number(other)) for text, other in pairs)


def _is_near(value: Fraction | None, right: Fraction | None) -> bool:
    return value is not None and right is not None and abs(value - right) <= abs(value) / 100


def shortest_way(answer: str, gold: str, facts: Facts) -> bool:
    """Any way from * to # that is as short as the dataset's, or its word that there is none."""
    way, shortest = answer.split(), gold.split()
    if way == shortest:
        return True
    return len(way) == len(shortest) and _arrives(facts["matrix"], way)


def _arrives(matrix: list[list[str]], way: list[str]) -> bool:
    cells = {(i, j): cell for i, row in enumerate(matrix) for j, cell in enumerate(row)}
    here = next(place for place, cell in cells.items() if cell == "*")
    for word in way:
        if word not in _STEPS:
            return False
        here = (here[0] + _STEPS[word][0], here[1] + _STEPS[word][1])
        if cells.get(here, "X") == "X":
            return False
    return cells[here] == "#"
