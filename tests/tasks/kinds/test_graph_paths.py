"""Paths in a random graph: the graph by hand, walks against their definition, and the split of its pairs."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np
import pytest

from tasks.base import Problem
from tasks.kinds.graph_paths import GraphPaths, _distances, _graph, _walk
from tasks.splits import split_of

SQUARE = {"a": "bd", "b": "ac", "c": "bd", "d": "ac", "e": ""}
"""a - b - c - d - a, and e alone."""


def asked(task, source, target):
    return Problem(
        prompt=f"{source}>{target}:",
        answer="",
        domain="path",
        difficulty=1.0,
        facts={"source": source, "target": target},
    )


def edges_of(task):
    return {frozenset((a, b)) for a, others in task._neighbours.items() for b in others}


def test_every_walk_of_edges_is_right_and_nothing_else():
    task = GraphPaths(num_nodes=12, edge_probability=0.3)
    edges, nodes = edges_of(task), task.alphabet()[:12]
    source, target, _ = task._pairs[0]
    rng, seen = Random(0), {0.0: 0, 1.0: 0}
    for _ in range(20000):
        response = source + "".join(rng.choices(nodes, k=rng.randint(0, 3))) + target
        right = all(frozenset(step) in edges for step in pairwise(response))
        assert task.grade(asked(task, source, target), response) == float(right)
        seen[float(right)] += 1
    assert min(seen.values()) > 50


def test_the_ends_have_to_be_the_right_ones():
    task = GraphPaths(num_nodes=12, edge_probability=0.3)
    problem = task.problem("train", 0, 0)
    path, source = problem.answer, problem.facts["source"]
    assert task.grade(problem, path) == 1.0
    # turned round it is a walk too, from the wrong node
    wrong = [path[::-1], path[1:], path[:-1], path + " ", f"{source}>{path}", source, "", path + path[-1]]
    assert [task.grade(problem, response) for response in wrong] == [0.0] * len(wrong)
    back = path + path[-2] + path[-1]  # one step back and forward again is a walk
    assert task.grade(problem, back) == 1.0


def test_distances_by_hand():
    assert _distances(SQUARE, "a") == {"a": 0, "b": 1, "d": 1, "c": 2}


def test_a_walk_with_its_loops_erased_is_a_simple_path_and_both_ways_round_come_equally_often():
    rng = Random(1)
    walks = [_walk(SQUARE, "a", "c", 3, rng) for _ in range(2000)]
    assert set(walks) == {"abc", "adc"}
    assert abs(walks.count("abc") / 2000 - 0.5) < 0.05  # 4 standard errors of 0.011


def test_a_walk_that_is_never_short_enough_becomes_a_shortest_path(monkeypatch):
    monkeypatch.setattr("tasks.kinds.graph_paths.MAX_TRIES", 0)
    assert _walk({"a": "b", "b": "ac", "c": "bd", "d": "c"}, "a", "d", 3, Random(0)) == "abcd"


def test_the_graph_is_drawn_by_its_seed_with_its_number_of_edges():
    graph = _graph(60, 0.1, 3)
    assert graph == _graph(60, 0.1, 3) != _graph(60, 0.1, 4)
    assert all(a in graph[b] for a, others in graph.items() for b in others)
    assert all(a not in others for a, others in graph.items())
    # 60 · 59 / 2 = 1770 pairs: 177 ± 4 · √(1770 · 0.09) = ± 50
    assert abs(sum(map(len, graph.values())) / 2 - 177) < 50


def test_the_pairs_are_split_by_their_share_and_are_no_neighbours():
    task = GraphPaths()
    on_train = sum(split_of(f"{a}>{b}:", 0.8) == "train" for a, b, _ in task._pairs)
    assert abs(on_train / len(task._pairs) - 0.2) < 4 * (0.2 * 0.8 / len(task._pairs)) ** 0.5
    problems = [task.problem("train", 0, index) for index in range(300)]
    assert len({problem.prompt for problem in problems}) <= on_train
    for problem in problems:
        assert 2 <= problem.difficulty <= len(problem.answer) - 1 <= 10
        assert len(set(problem.answer)) == len(problem.answer)


def test_pairs_are_two_to_max_steps_edges_apart():
    """By powers of the adjacency matrix: of the pairs of this graph some are further apart, and are left out."""
    task = GraphPaths(num_nodes=30, edge_probability=0.08, max_steps=3)
    nodes = list(task._neighbours)
    adjacent = np.array([[b in task._neighbours[a] for b in nodes] for a in nodes]).astype(int)
    apart, reached = {}, np.eye(len(nodes), dtype=int)
    for distance in range(len(nodes)):
        for i, j in np.argwhere(reached):
            apart.setdefault((nodes[i], nodes[j]), distance)
        reached = (reached @ adjacent > 0).astype(int)
    assert max(apart.values()) > 4
    expected = {(a, b, distance) for (a, b), distance in apart.items() if distance in (2, 3)}
    assert set(task._pairs) == expected
    assert len(task._pairs) == len(expected)


def test_one_pair_is_shown_by_different_paths():
    task = GraphPaths(num_nodes=8, edge_probability=0.5)
    shown: dict[str, set[str]] = {}
    for index in range(200):
        problem = task.problem("train", 0, index)
        shown.setdefault(problem.prompt, set()).add(task.demonstrate(problem, Random(0), 0.0))
    assert max(map(len, shown.values())) > 2


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_nodes": 3}, "num_nodes must be between 4 and 62, got 3"),
        ({"edge_probability": 0.0}, r"edge_probability must be in \(0, 1\), got 0.0"),
        ({"train_share": 1.0}, r"train_share must be in \(0, 1\), got 1.0"),
        ({"max_steps": 1}, "max_steps must be between 2 and 61, got 1"),
        (
            {"num_nodes": 5, "edge_probability": 0.999, "max_steps": 2},
            "edge_probability must leave pairs that are connected by 2 to 2 edges, got 0.999",
        ),
    ],
)
def test_settings_are_guarded(setting, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        replace(GraphPaths(), **setting)
