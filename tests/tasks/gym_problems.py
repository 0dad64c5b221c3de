"""Problems of every dataset of reasoning-gym, with settings under which each is generated in no time."""

import json
from copy import deepcopy
from functools import cache

from tasks.kinds.reasoning_gym import ReasoningGym
from tasks.verifiers.catalogue import VERIFIERS

DATASETS = sorted(VERIFIERS)
SIZE = 500

SMALL = {
    "countdown": {"min_numbers": 3, "max_numbers": 4},
    "futoshiki": {"min_board_size": 4, "max_board_size": 4},
    "game_of_life": {"grid_size_x": 4, "grid_size_y": 4, "filled_cells_weights": 0.5},
    "puzzle24": {"operators": ["+", "-", "*"], "max_value": 6},
    "quantum_lock": {"difficulty": 4},
    "rush_hour": {"max_moves": 4},
    "sokoban": {"max_w": 7, "max_h": 7, "max_boxes": 4, "max_depth": 40},
    "zebra_puzzles": {"num_people": 3, "num_characteristics": 3},
}


def settings(dataset):
    return {"dataset": dataset, "config": SMALL.get(dataset, {}), "size": SIZE}


@cache
def library(dataset):
    """The dataset itself, with the library's own verifier."""
    import reasoning_gym

    return reasoning_gym.create_dataset(dataset, seed=0, size=SIZE, **SMALL.get(dataset, {}))


@cache
def entry(dataset, index):
    """The same problem that a task with these settings grades; made once, as some take a second."""
    return library(dataset)[index]


def verifying(dataset):
    return ReasoningGym(**settings(dataset), scorer="verifier")


def is_right(dataset, index, answer):
    """What the verifier says of an answer to the problem of that index."""
    problem = entry(dataset, index)
    return VERIFIERS[dataset](answer, problem["answer"] or "", problem["metadata"])


def library_says_right(dataset, index, answer):
    """Whether the library's verifier gives the full score; it raises on some of what is wrong."""
    try:
        return float(library(dataset).score_answer(answer, entry=deepcopy(entry(dataset, index)))) >= 1.0
    except Exception:
        return False


@cache
def solution(dataset, index):
    """A right answer to a problem, found where the dataset gives none; None where none is at hand."""
    problem = entry(dataset, index)
    facts = problem["metadata"]
    if problem["answer"] is not None:
        return problem["answer"]
    return {
        "boxnet": lambda: carried_boxes(facts["initial_state"]),
        "graph_color": lambda: json.dumps(facts["possible_answer"]),
        "propositional_logic": lambda: facts["example_answer"] if len(facts["example_answer"]) > 1 else None,
        "rubiks_cube": lambda: facts["example_correct_answer"],
        "rush_hour": lambda: driven_out(facts["board_config"]),
    }[dataset]()


def carried_boxes(squares):
    """A plan for boxnet: each box by itself, square by square, to a target of its colour."""
    at = {thing: place for place, things in squares.items() for thing in things}
    plans = []
    for box in (thing for thing in at if thing.startswith("box_")):
        target = box.replace("box_", "target_")
        x, y = map(float, at[box].split("_"))
        to_x, to_y = map(float, at[target].split("_"))
        while (x, y) != (to_x, to_y):
            new = (x + (to_x > x) - (to_x < x), y) if x != to_x else (x, y + (to_y > y) - (to_y < y))
            plans.append({f"Agent[{x}, {y}]": f"move({box}, square[{new[0]}, {new[1]}])"})
            x, y = new
        plans.append({f"Agent[{x}, {y}]": f"move({box}, {target})"})
    return json.dumps(plans)


def driven_out(board):
    """The shortest way out of a rush hour, found by breadth over the library's own board."""
    from reasoning_gym.games.rush_hour import Board

    seen, frontier = {str(Board(board))}, [[]]
    num_cars = len(set(board) - {"o", "x"})
    while frontier:
        longer = []
        for moves in frontier:
            for car in range(num_cars):
                for step in ("+1", "-1"):
                    tried = [*moves, chr(ord("A") + car) + step]
                    after = Board(board)
                    after.perform_moves(" ".join(tried))
                    if after.solved:
                        return " ".join(tried)
                    if str(after) not in seen:
                        seen.add(str(after))
                        longer.append(tried)
        frontier = longer
    raise AssertionError(f"{board} has no way out")
