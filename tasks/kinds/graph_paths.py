"""Paths in a random graph: many right answers to each question, some of them never shown."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from random import Random
from string import ascii_letters, digits
from typing import ClassVar

from tasks.base import Problem, Split, Task
from tasks.corruption import corrupt
from tasks.splits import draw, stable_hash

NODES = ascii_letters + digits
MAX_TRIES = 200
"""Random walks for one demonstration before a shortest path takes their place."""

Neighbours = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class GraphPaths(Task):
    """A path between two nodes of one graph, an Erdős–Rényi graph that the policy never sees.

    The prompt is ``a>f:`` and a right response is a walk, ``acdf``: it begins at the first node, ends at the second,
    and each step is an edge.  Every such walk is right, however long.  Pairs are ordered, connected, and no
    neighbours.  The training split holds ``train_share`` of them, the held-out split the others: what generalises is
    the graph, edges that a path of one pair has shown to another.

    A demonstration is a random walk with its loops erased, drawn with the problem, so that the same pair is shown
    different paths.  The domain is ``path``; the difficulty is the length of a shortest path.  After the planning
    study 2509.22613 [its graphs and walks from memory, unverified].
    """

    kind: ClassVar[str] = "graph_paths"

    num_nodes: int = 30
    """Nodes of the graph, named by one letter or digit each."""

    edge_probability: float = 0.1
    """Chance of an edge between two nodes, above 0 and below 1."""

    graph_seed: int = 0
    """Seed of the graph, the same in every run of a campaign."""

    train_share: float = 0.2
    """Share of the pairs that are trained on, above 0 and below 1."""

    max_steps: int = 10
    """Edges of the longest demonstration; pairs further apart are not asked for."""

    def __post_init__(self) -> None:
        if not 4 <= self.num_nodes <= len(NODES):
            raise ValueError(f"num_nodes must be between 4 and {len(NODES)}, got {self.num_nodes}")
        for name in ("edge_probability", "train_share"):
            if not 0.0 < (value := getattr(self, name)) < 1.0:
                raise ValueError(f"{name} must be in (0, 1), got {value}")
        if not 2 <= self.max_steps < len(NODES):
            raise ValueError(f"max_steps must be between 2 and {len(NODES) - 1}, got {self.max_steps}")
        if not self._pairs:
            raise ValueError(
                f"edge_probability must leave pairs that are connected by 2 to {self.max_steps} edges, got "
                f"{self.edge_probability}, whose graph of seed {self.graph_seed} has none; choose a value in between, "
                "or more nodes"
            )

    def problem(self, split: Split, seed: int, index: int) -> Problem:
        return draw(self._generate, split, seed, index, held_out_fraction=1.0 - self.train_share)

    def grade(self, problem: Problem, response: str) -> float:
        neighbours, facts = self._neighbours, problem.facts
        if response[:1] != facts["source"] or response[-1:] != facts["target"]:
            return 0.0
        return float(all(after in neighbours.get(before, "") for before, after in pairwise(response)))

    def demonstrate(self, problem: Problem, rng: Random, error_rate: float) -> str:
        return corrupt(problem.answer, NODES[: self.num_nodes], rng, error_rate)

    def alphabet(self) -> str:
        return NODES[: self.num_nodes] + ">:"

    @property
    def _neighbours(self) -> Neighbours:
        return _graph(self.num_nodes, self.edge_probability, self.graph_seed)

    @property
    def _pairs(self) -> tuple[tuple[str, str, int], ...]:
        return _pairs(self.num_nodes, self.edge_probability, self.graph_seed, self.max_steps)

    def _generate(self, rng: Random) -> Problem:
        source, target, distance = rng.choice(self._pairs)
        return Problem(
            prompt=f"{source}>{target}:",
            answer=_walk(self._neighbours, source, target, self.max_steps, rng),
            domain="path",
            difficulty=float(distance),
            facts={"source": source, "target": target},
        )


@lru_cache(maxsize=64)
def _graph(num_nodes: int, edge_probability: float, seed: int) -> Neighbours:
    """The neighbours of each node, in the order of ``NODES``."""
    rng = Random(stable_hash(f"graph/{seed}"))  # nosec B311  # chance of problems, not of keys
    nodes = NODES[:num_nodes]
    edges = {
        frozenset((a, b)) for i, a in enumerate(nodes) for b in nodes[:i] if rng.random() < edge_probability
    }
    return {a: "".join(b for b in nodes if frozenset((a, b)) in edges) for a in nodes}


@lru_cache(maxsize=64)
def _pairs(
    num_nodes: int, edge_probability: float, seed: int, max_steps: int
) -> tuple[tuple[str, str, int], ...]:
    """Ordered pairs of nodes that 2 to ``max_steps`` edges connect at the least, with how many those are."""
    neighbours = _graph(num_nodes, edge_probability, seed)
    return tuple(
        (source, target, distance)
        for source in neighbours
        for target, distance in _distances(neighbours, source).items()
        if 2 <= distance <= max_steps
    )


def _distances(neighbours: Neighbours, source: str) -> dict[str, int]:
    """Edges from a node to each that it is connected to, by breadth-first search."""
    distances, queue = {source: 0}, deque([source])
    while queue:
        node = queue.popleft()
        for other in neighbours[node]:
            if other not in distances:
                distances[other] = distances[node] + 1
                queue.append(other)
    return distances


def _walk(neighbours: Neighbours, source: str, target: str, max_steps: int, rng: Random) -> str:
    """A random walk from one node to another with its loops erased (Lawler 1980): no node twice.

    One of more than ``max_steps`` edges is drawn again; after ``MAX_TRIES`` of them it is a shortest path.
    """
    for _ in range(MAX_TRIES):
        path = source
        while path[-1] != target:
            node = rng.choice(neighbours[path[-1]])
            path = path[: path.index(node) + 1] if node in path else path + node
        if len(path) - 1 <= max_steps:
            return path
    distances, path = _distances(neighbours, target), source
    while path[-1] != target:
        path += min(neighbours[path[-1]], key=lambda node: distances[node])
    return path
