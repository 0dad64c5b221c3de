"""Rush hour, boxes in a net, and the cube: moves that are each checked against the rules of their board.

The library passes over a move that cannot be made.  A list of all moves there are would then solve every
problem, so here it makes the answer wrong.
"""

from __future__ import annotations

import re
from typing import Any

from tasks.verifiers.grammars import Facts, json_value

MAX_MOVES = 1000

_SIDE = 6
_EXIT = (2, 4)
"""Row and column at which the red car's left end stands when it can leave."""

_CAR_MOVE = re.compile(r"([A-Z])([+-][0-9]{1,2})")
_AGENT = re.compile(r"Agent\[([0-9]+\.[0-9]+), ?([0-9]+\.[0-9]+)\]")
_BOX_MOVE = re.compile(r"move\((box_\w+), ?(?:(target_\w+)|square\[([0-9]+\.[0-9]+), ?([0-9]+\.[0-9]+)\])\)")
_TURN = re.compile(r"([1-9]?[LRUDBF]w?'?|[XYZMES]'?)([1-9]?)")


def driven_cars(answer: str, gold: str, facts: Facts) -> bool:
    """The red car at the exit after moves like ``F+1``, each over free cells and within the board."""
    cars, walls = _cars(facts["board_config"])
    moves = [_CAR_MOVE.fullmatch(word) for word in answer.replace(",", " ").split()]
    if len(moves) > MAX_MOVES:
        return False
    for move in moves:
        if move is None or move[1] not in cars:
            return False
        car, num_steps = cars.pop(move[1]), int(move[2])
        taken = walls.union(*cars.values())
        along = 1 if car[0][0] == car[1][0] else 0
        for _ in range(abs(num_steps)):
            car = [_shifted(cell, along, 1 if num_steps > 0 else -1) for cell in car]
            if not taken.isdisjoint(car) or any(not 0 <= part < _SIDE for cell in car for part in cell):
                return False
        cars[move[1]] = car
    return cars["A"][0] == _EXIT


_Cell = tuple[int, int]


def _cars(board: str) -> tuple[dict[str, list[_Cell]], set[_Cell]]:
    """The cells of each car under the name that the question gives it, in order of the board's own names."""
    cells: dict[str, list[_Cell]] = {}
    for place, name in enumerate(board):
        cells.setdefault(name, []).append(divmod(place, _SIDE))
    names = sorted(set(cells) - {"o", "x"})
    return {chr(ord("A") + i): cells[name] for i, name in enumerate(names)}, set(cells.get("x", []))


def _shifted(cell: _Cell, along: int, by: int) -> _Cell:
    return (cell[0], cell[1] + by) if along else (cell[0] + by, cell[1])


def matched_boxes(answer: str, gold: str, facts: Facts) -> bool:
    """A JSON list of plans that bring every box to a target of its colour, one move per agent and plan."""
    plans = json_value(answer)
    if not isinstance(plans, list):
        return False
    squares = {place: list(things) for place, things in facts["initial_state"].items()}
    for plan in plans:
        if not isinstance(plan, dict) or not all(_carry(squares, *move) for move in plan.items()):
            return False
    return not any(thing.startswith("box_") for things in squares.values() for thing in things)


def _carry(squares: dict[str, list[str]], agent: str, action: Any) -> bool:
    """Make one move; False where it cannot be made."""
    here = _AGENT.fullmatch(agent.strip())
    move = _BOX_MOVE.fullmatch(action.strip()) if isinstance(action, str) else None
    if here is None or move is None:
        return False
    box, target = move[1], move[2]
    at = squares.get(f"{here[1]}_{here[2]}", [])
    if box not in at:
        return False
    if target:
        if target not in at or box.removeprefix("box_") != target.removeprefix("target_"):
            return False
        at.remove(target)
    else:
        there = squares.get(f"{move[3]}_{move[4]}")
        distance = abs(float(here[1]) - float(move[3])) + abs(float(here[2]) - float(move[4]))
        if there is None or distance != 1.0:
            return False
        there.append(box)
    at.remove(box)
    return True


def solved_cube(answer: str, gold: str, facts: Facts) -> bool:
    """Every face of one colour after the turns, ``U``, ``R'``, ``2Lw`` or ``F2``."""
    turns = [_TURN.fullmatch(word) for word in answer.split()]
    if len(turns) > MAX_MOVES:
        return False
    names: list[str] = []
    for turn in turns:
        if turn is None or (turn[1][0].isdigit() and int(turn[1][0]) > facts["cube_size"]):
            return False
        names += [turn[1]] * int(turn[2] or 1)
    from magiccube import Cube

    cube = Cube(facts["cube_size"])
    cube.rotate(facts["scramble_moves"])
    cube.rotate(" ".join(names))
    return bool(cube.is_done())
