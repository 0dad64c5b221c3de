"""Episodes: the policy speaks, the task replies, until one of them is done.

An episode comes out as one `Completion`, whose ``turn`` says which tokens are whose.  Only the policy's own
have a log-probability, and only on them is there a loss.  Each turn is sampled with everything said so far
as its prompt, so the learner, who sees the whole row at once, sees every token as the engine did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from policies.rollouts.addressed_sampling import turn_seed
from policies.rollouts.base import Completion

if TYPE_CHECKING:
    from torch import Tensor

    from policies.model.loading import LoadedPolicy
    from policies.rollouts.base import RolloutEngine, Sampling

Reply = Callable[[int, Sequence[str]], str | None]
"""What the task says to the turns so far, of an episode with the prompt of that number; None ends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeLimits:
    """When an episode is cut, of a task that answers back.  One that is cut counts as truncated."""

    max_turns: int = 8
    """Most turns of the policy."""

    max_tokens: int | None = None
    """Tokens after the prompt, replies included; null is what the model's context has room for.  No turn
    begins that may not have the room for all of ``rollout.max_tokens``."""

    def __post_init__(self) -> None:
        if self.max_turns < 1:
            raise ValueError(f"max_turns must be >= 1, got {self.max_turns}")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"max_tokens must be >= 1, got {self.max_tokens}")

    def most_spoken(self, turn_tokens: int) -> int:
        """Tokens that the policy can speak in an episode, with turns of at most so many."""
        most = self.max_turns * turn_tokens
        return most if self.max_tokens is None else min(most, self.max_tokens)


def play(
    engine: RolloutEngine,
    policy: LoadedPolicy,
    prompts: Sequence[Tensor],
    num_samples: int,
    sampling: Sampling,
    *,
    reply: Reply,
    limits: EpisodeLimits,
) -> list[list[Completion]]:
    """``num_samples`` episodes for each prompt, in the order of ``prompts``.

    Chance goes by address: an episode does not depend on which others are still running.
    """
    groups = engine.generate(prompts, num_samples, sampling)
    episodes = [
        _Episode(
            which=i,
            number=sampling.number(i) * (num_samples - first) + max(0, sample - first),
            greedy=sample < first,
            said=[prompt],
        )
        for i, prompt in enumerate(prompts)
        for first in [int(sampling.starts_greedily(i))]
        for sample in range(num_samples)
    ]
    turns, running = [turn for group in groups for turn in group], episodes
    for number in range(1, limits.max_turns + 1):
        texts = policy.decode([turn.tokens for turn in turns])
        for episode, turn, text in zip(running, turns, texts, strict=True):
            episode.speak(turn, text)
        room = sampling.max_tokens if number < limits.max_turns else None
        running = [e for e in running if e.hear(policy, reply, limits, room)]
        if not running:
            break
        again = replace(
            sampling,
            seed=turn_seed(sampling.seed, number + 1),
            numbers=tuple(episode.number for episode in running),
            greedy_first=tuple(e.greedy for e in running) if sampling.greedy_first else False,
        )
        turns = [row[0] for row in engine.generate([torch.cat(e.said) for e in running], 1, again)]
    whole = [episode.completion() for episode in episodes]
    return [whole[start : start + num_samples] for start in range(0, len(whole), num_samples)]


@dataclass(slots=True, kw_only=True)
class _Episode:
    """One episode while it is played."""

    which: int  # its prompt, of those that are played
    number: int  # its own among the sampled ones of the whole batch
    greedy: bool  # although others are sampled
    said: list[Tensor]  # the prompt, a turn, a reply, a turn, …
    turns: list[Completion] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    finished: bool = False

    def speak(self, turn: Completion, text: str) -> None:
        self.said.append(turn.tokens)
        self.turns.append(turn)
        self.texts.append(text)

    def hear(self, policy: LoadedPolicy, reply: Reply, limits: EpisodeLimits, room: int | None) -> bool:
        """Take the reply to the last turn, and say whether another turn begins.

        ``room`` is the number of tokens that it may have; None where there is to be none.
        """
        turn = self.turns[-1]
        if not turn.finished:
            return False
        answer = reply(self.which, self.texts)
        if answer is None:
            self.finished = True
            return False
        tokens = policy.encode_reply(answer, turn.tokens)
        if room is None or not self._has_room(len(tokens) + room, policy, limits):
            return False
        self.said.append(tokens)
        return True

    def _has_room(self, wanted: int, policy: LoadedPolicy, limits: EpisodeLimits) -> bool:
        after_prompt = sum(map(len, self.said[1:])) + wanted
        context = policy.context
        return (limits.max_tokens is None or after_prompt <= limits.max_tokens) and (
            context is None or len(self.said[0]) + after_prompt <= context
        )

    def completion(self) -> Completion:
        versions = [turn.versions for turn in self.turns if turn.versions is not None]
        pieces = self.said[1:]
        number = torch.tensor([0 if place % 2 else place // 2 + 1 for place in range(len(pieces))])
        lengths = torch.tensor([len(tokens) for tokens in pieces])
        return Completion(
            tokens=torch.cat(pieces),
            logprobs=torch.cat([turn.logprobs for turn in self.turns]),
            finished=self.finished,
            versions=torch.cat(versions) if versions else None,
            turn=torch.repeat_interleave(number, lengths),
        )
