"""Ranks that hold an engine together: their parts are asked the same, and each rank has its own answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from policies.rollouts.engine_group import EngineGroup
from tests.policies.rollouts.tensor_parallel_ranks import NUM_PROMPTS, NUM_TURNS, SIZE

ROOT = Path(__file__).parents[3]


def ranks(world_size, tmp_path):
    """What each rank printed."""
    module = "tests.policies.rollouts.tensor_parallel_ranks"
    started = [
        subprocess.Popen(
            [sys.executable, "-m", module, str(rank), str(world_size), str(tmp_path / "store")],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )
        for rank in range(world_size)
    ]  # fmt: skip
    printed = [rank.communicate()[0] for rank in started]
    assert [rank.returncode for rank in started] == [0] * world_size
    return [json.loads(text.splitlines()[-1]) for text in printed]


@pytest.mark.parametrize("world_size", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_the_parts_of_an_engine_are_asked_the_same_and_each_rank_has_its_own_answers(world_size, tmp_path):
    said = ranks(world_size, tmp_path)
    for first in range(0, world_size, SIZE):
        one, other = said[first : first + SIZE]
        assert one["calls"] == other["calls"]
        # Three turns of two episodes and one of one; then one of none, and two of one.
        assert [len(call) for call in one["calls"]] == [[3, 2, 2], [1, 1]][first // SIZE]
        assert one["arguments"]["tensor_parallel_size"] == SIZE
        assert one["arguments"]["distributed_executor_backend"] == "external_launcher"
    for rank, each in enumerate(said):
        # A turn repeats the last token: the prompt's, then the reply's, which is the rank's.
        turns, reply = NUM_TURNS[rank], 10 * rank + 5
        assert each["said"] == [
            [10 * rank + number, *[reply, reply] * (turns - 1)] for number in range(NUM_PROMPTS[rank])
        ]


def test_a_rank_alone_is_asked_what_it_asks_and_does_not_wait():
    alone, asked = EngineGroup(), []

    def sample(requests):
        asked.append(requests)
        return [request + 1 for request in requests]

    assert alone.ask([1, 2], sample) == [2, 3]
    assert alone.ask([], sample) == []
    alone.stay(sample)
    assert asked == [[1, 2]]
