"""What a rollout engine is: token ids in, token ids and behaviour log-probabilities out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to sample.  Always from the whole distribution: no top-k, no top-p, no penalties.

    ``temperature=0`` is greedy.
    """

    temperature: float
    max_tokens: int
    seed: int
    first_prompt: int = 0
    """Number of the first prompt in the whole batch, for a process that samples a share of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One response.  ``finished`` says that it ended with a stop token; otherwise it was cut at the limit."""

    tokens: Tensor  # [L] int64, with the stop token where finished
    logprobs: Tensor  # [L] float32: log-probability under the distribution that was sampled from
    finished: bool


class RolloutEngine(ABC):
    """Samples responses from the policy as it is now."""

    @abstractmethod
    def generate(
        self, prompts: Sequence[Tensor], num_samples: int, sampling: Sampling
    ) -> list[list[Completion]]:
        """``num_samples`` completions for each prompt ([L] int64), in the order of ``prompts``.

        Deterministic in the policy, the prompts and ``sampling``; the caller's random state is
        left as it was.  The chance in a response comes from its address (`rollouts/chance.py`), where
        the engine can do that.
        """
