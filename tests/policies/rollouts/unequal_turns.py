"""A rank of two whose episodes have unequal numbers of turns, with an engine that sleeps; run by a test.

The push is a collective, as it is for a sharded policy: a rank that pushed once more than the other would wait for it.
"""

from __future__ import annotations

import sys
from datetime import timedelta

import torch
from torch import distributed as dist

from orchestrator.training.experience import Explorer
from policies.model.loading import LoadedPolicy
from policies.rollouts.base import Completion, Sampling
from policies.rollouts.episodes import EpisodeLimits
from policies.rollouts.weight_pushing import PushedEngine
from tasks import Problem, Task

PATIENCE = timedelta(seconds=20)
NUM_TURNS = (3, 1)
"""Turns of each rank's episodes."""


class Sleeper(PushedEngine):
    """Says one token a turn; takes weights with all ranks, and forgets them when it sleeps."""

    def __init__(self, policy):
        super().__init__(policy, push_every=1)
        self.calls = []

    def _load(self, version):
        dist.all_reduce(torch.ones(1))
        self.calls.append("push")

    def _wake(self):
        self.calls.append("wake")

    def _rest(self):
        self.calls.append("sleep")
        self._version = None

    def _generate(self, prompts, num_samples, sampling):
        self.calls.append("turn")
        turn = Completion(tokens=torch.tensor([5]), logprobs=torch.zeros(1), finished=True)
        return [[turn] * num_samples for _ in prompts]


class Words:
    """As much of a policy as episodes need."""

    masked_ids, context = (), None
    decode = staticmethod(lambda rows: ["word" for _ in rows])
    encode_reply = staticmethod(lambda text, spoken: torch.tensor([6]))


class Talk:
    """A task that answers so many times less one."""

    answers_back = True

    def __init__(self, num_turns):
        self.num_turns = num_turns

    def reply(self, problem, turns):
        return "go on" if len(turns) < self.num_turns else None


def main(rank: int, file: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2, timeout=PATIENCE)
    policy: LoadedPolicy = Words()  # type: ignore[assignment]
    task: Task = Talk(NUM_TURNS[rank])  # type: ignore[assignment]
    engine = Sleeper(policy)
    explorer = Explorer(task=task, policy=policy, engine=engine, limits=EpisodeLimits())
    problems: list[Problem] = [None]  # type: ignore[list-item]
    for _ in range(2):
        explorer.sample(problems, [torch.tensor([4])], 1, Sampling(temperature=1.0, max_tokens=1, seed=0))
    dist.destroy_process_group()
    print(*engine.calls)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
