"""Answers that are moves in a small world, which is simulated; an illegal move makes the answer wrong."""

from __future__ import annotations

import re

from tasks.verifiers.grammars import Facts, json_value, list_of_text, rows

_HANOI = re.compile(r"Move disk ([0-9]{1,4}) from Peg ([0-9]{1,4}) to Peg ([0-9]{1,4})")
_JUGS = re.compile(r"(?P<verb>fill|empty) +(?P<jug>[A-Z])|pour +(?P<source>[A-Z]) *-> *(?P<target>[A-Z])")
_WAYS = {"R": (0, 1), "L": (0, -1), "U": (-1, 0), "D": (1, 0)}
_BUTTONS = re.compile("[ABC]+")


def moved_tower(answer: str, gold: str, facts: Facts) -> bool:
    """Every disk on the target peg after no more moves than needed, each of them allowed."""
    lines = [" ".join(words) for words in rows(answer)]
    if len(lines) > facts["solution_length"]:
        return False
    pegs: dict[int, list[int]] = {peg: [] for peg in range(1, facts["num_pegs"] + 1)}
    pegs[facts["start_peg"]] = tower = list(range(facts["num_disks"], 0, -1))
    tower = tower.copy()
    for line in lines:
        match = _HANOI.fullmatch(line)
        if match is None:
            return False
        disk, source, target = (int(part) for part in match.groups())
        if target not in pegs or pegs.get(source, [])[-1:] != [disk]:
            return False
        if pegs[target] and pegs[target][-1] < disk:
            return False
        pegs[target].append(pegs[source].pop())
    return pegs[facts["target_peg"]] == tower


def poured_jugs(answer: str, gold: str, facts: Facts) -> bool:
    """A JSON list of moves after which some jug holds the target amount."""
    moves, capacities = list_of_text(json_value(answer)), facts["puzzle"]["jug_capacities"]
    if moves is None:
        return False
    jugs = {chr(ord("A") + place): 0 for place in range(len(capacities))}
    room = dict(zip(jugs, capacities, strict=True))
    for move in moves:
        match = _JUGS.fullmatch(move.strip())
        if match is None or not set(match.group("jug", "source", "target")) <= {None, *jugs}:
            return False
        if match["verb"]:
            jugs[match["jug"]] = room[match["jug"]] if match["verb"] == "fill" else 0
        else:
            source, target = match["source"], match["target"]
            amount = min(jugs[source], room[target] - jugs[target])
            jugs[source] -= amount
            jugs[target] += amount
    return facts["puzzle"]["target"] in jugs.values()


def pushed_boxes(answer: str, gold: str, facts: Facts) -> bool:
    """Sokoban: every box on a goal after the moves L, R, U and D; a move against a wall does nothing."""
    moves = "".join(answer.split())
    if not set(moves) <= set(_WAYS):
        return False
    lines = facts["gamestr"].replace(" ", "").strip().split("\n")
    cells = {(i, j): cell for i, line in enumerate(lines) for j, cell in enumerate(line)}
    walls = {place for place, cell in cells.items() if cell == "+"}
    goals = {place for place, cell in cells.items() if cell in "X$%"}
    boxes = {place for place, cell in cells.items() if cell in "@$"}
    here = next(place for place, cell in cells.items() if cell in "*%")
    for move in moves:
        there, beyond = _step(here, move), _step(_step(here, move), move)
        if there in walls or (there in boxes and (beyond in walls or beyond in boxes)):
            continue
        if there in boxes:
            boxes = boxes - {there} | {beyond}
        here = there
    return boxes <= goals


def _step(place: tuple[int, int], move: str) -> tuple[int, int]:
    return place[0] + _WAYS[move][0], place[1] + _WAYS[move][1]


def opened_lock(answer: str, gold: str, facts: Facts) -> bool:
    """As few buttons as the dataset's, that lead to the target: ``A → B``, ``A, B`` or ``AB``, and no other text."""
    pressed = "".join(re.split(r"→|->|,|\s", answer.upper()))
    if not _BUTTONS.fullmatch(pressed) or len(pressed) != len(_BUTTONS.findall(gold.replace(" → ", ""))[0]):
        return False
    buttons = {button["name"]: button for button in facts["buttons"]}
    value, light = facts["initial_value"], facts["initial_state"]
    for name in pressed:
        button = buttons[name]
        if button["active_state"] not in (light, "any"):
            continue
        amount = button["value"]
        value = {"add": value + amount, "subtract": value - amount, "multiply": value * amount}[
            button["type"]
        ]
        light = "green" if light == "red" else "red"
    return bool(value == facts["target_value"])
