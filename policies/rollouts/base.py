"""The interface of a rollout engine: token ids in, token ids and behaviour log-probabilities out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to sample.  Always from the whole distribution over ids that have a token: no top-k, no top-p, no penalties.

    ``temperature=0`` is greedy.
    """

    temperature: float
    max_tokens: int
    seed: int
    first_prompt: int = 0
    """Number of the first prompt in the whole batch, for a process that samples a share of it."""
    numbers: tuple[int, ...] | None = None
    """Number of each prompt, where they do not follow each other."""
    greedy_first: bool | tuple[bool, ...] = False
    """Whether the first response to each prompt is greedy, one answer for all prompts or one for each; the others are
    those that there would be without it."""

    def starts_greedily(self, prompt: int) -> bool:
        """Whether the first response to a prompt is greedy among others that are sampled."""
        return self.greedy_first if isinstance(self.greedy_first, bool) else self.greedy_first[prompt]

    def address(self, prompt: int, sample: int) -> tuple[int, int] | None:
        """The numbers of a prompt and of a sample that the chance in a response goes by; None where it is greedy."""
        sampled = sample - self.starts_greedily(prompt)
        return None if sampled < 0 or self.temperature == 0 else (self.number(prompt), sampled)

    def number(self, prompt: int) -> int:
        """The number in the whole batch of a prompt of this one: its address for chance."""
        return self.first_prompt + prompt if self.numbers is None else self.numbers[prompt]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One response.  ``finished`` says that it ended with a stop token; otherwise it was cut at the limit.

    An episode (`rollouts/episodes.py`) is a response with replies in it: of its ``L`` tokens, ``T`` are the
    policy's own, and it is finished when the task ended it.
    """

    tokens: Tensor  # [L] int64, with the stop token where finished
    logprobs: Tensor  # [T] float32: log-probability under the distribution that was sampled from
    finished: bool
    versions: Tensor | None = None
    """[T] int64: updates behind the weights that sampled each token; None where the policy itself did."""
    turn: Tensor | None = None
    """[L] int64: the policy's turn that a token is of, from 1; 0 in a reply.  None where there is one turn."""

    @property
    def spoken(self) -> Tensor:
        """[L] bool: which tokens are the policy's own."""
        return torch.ones_like(self.tokens, dtype=torch.bool) if self.turn is None else self.turn > 0

    @property
    def num_turns(self) -> int:
        """Turns of the policy."""
        return 1 if self.turn is None else int(self.turn.max())

    @property
    def last_turn(self) -> Tensor:
        """Tokens of the policy's last turn."""
        return self.tokens if self.turn is None else self.tokens[self.turn == self.turn.max()]


class EngineUnavailableError(RuntimeError):
    """The engine is gone and does not come back by itself; the run continues from its checkpoint."""


class RolloutEngine(ABC):
    """Samples responses from the policy.

    One that has weights of its own takes the policy's when it is first used, and at every ``push``.
    No engine ever samples one of the policy's ``masked_ids``.
    """

    _listener: Callable[[int], None] | None = None

    @contextmanager
    def told_to(self, listener: Callable[[int], None]) -> Iterator[None]:
        """Tell ``listener`` meanwhile how many more responses there are, each time that some have ended.

        It is for those who watch: an engine that knows of none before all have ended tells it once, or never.
        """
        self._listener = listener
        try:
            yield
        finally:
            self._listener = None

    def _tell(self, num_responses: int) -> None:
        if self._listener is not None:
            self._listener(num_responses)

    @abstractmethod
    def generate(
        self, prompts: Sequence[Tensor], num_samples: int, sampling: Sampling
    ) -> list[list[Completion]]:
        """``num_samples`` completions for each prompt ([L] int64), in the order of ``prompts``.

        Deterministic in the policy, the prompts and ``sampling``; the caller's random state is
        left as it was.  The chance in a response comes from its address (`rollouts/addressed_sampling.py`), where
        the engine can do that.
        """

    def session(self) -> AbstractContextManager[None]:
        """Calls of ``generate`` that belong together, as the turns of episodes do.

        Every rank enters and leaves once for each batch, and samples inside as often as it has to: what ranks do
        together, and waking an engine that sleeps, is done at the beginning and at the end.
        """
        return nullcontext()

    def push(self, version: int) -> None:  # noqa: B027
        """The policy has ``version`` updates behind it now; nothing to do for one that samples with it.

        Every rank calls it, since a sharded policy is gathered by all of them.
        """

    def close(self) -> None:  # noqa: B027
        """Give back what the engine holds: memory, processes, connections.  It is not used again."""


def check_context(prompts: Iterable[Tensor], max_tokens: int, context: int | None) -> None:
    """Refuse prompts that leave no room for a response of full length.

    Raises:
        ValueError: one does.
    """
    longest = max((len(prompt) for prompt in prompts), default=0)
    if context is not None and longest + max_tokens > context:
        raise ValueError(
            f"a prompt of {longest} tokens and a response of up to {max_tokens} (rollout.max_tokens) do "
            f"not fit the model's context of {context} tokens; lower one, or choose another model"
        )
