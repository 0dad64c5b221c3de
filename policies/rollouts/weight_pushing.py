"""An engine with weights of its own: when it takes the policy's weights, and how old they are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from policies.finite_weights import CURE, not_finite, why_not_finite
from policies.rollouts.base import Completion, EngineUnavailableError, RolloutEngine, Sampling
from policies.rollouts.vllm_support import LARGEST_TEMPERATURE

if TYPE_CHECKING:
    from policies.model.loading import LoadedPolicy


class PushedEngine(RolloutEngine):
    """Takes the policy's weights when it is first used, and then after every ``push_every`` updates.

    Both are done by all ranks together, once a `session`, however many turns the episodes of each have.

    Nothing is started before the first use: by then Lightning has placed the model, formed the process
    group and read the checkpoint.
    """

    def __init__(self, policy: LoadedPolicy, *, push_every: int) -> None:
        self.policy = policy
        self.push_every = push_every
        self._policy_version = 0
        self._is_open = False
        self._version: int | None = None  # of the weights in the engine; None: they are not the policy's

    def push(self, version: int) -> None:
        self._policy_version = version
        # A version below that of the engine is a policy that was rolled back.
        if self._version is not None and (version % self.push_every == 0 or version < self._version):
            self._take()

    def generate(
        self, prompts: Sequence[Tensor], num_samples: int, sampling: Sampling
    ) -> list[list[Completion]]:
        with self.session(), self._naming_broken_weights():
            groups = self._generate(prompts, num_samples, sampling)
        self._check([completion for group in groups for completion in group])
        return groups

    @contextmanager
    def session(self) -> Iterator[None]:
        if self._is_open:
            yield
            return
        with self._naming_broken_weights():
            if self._version is None:
                self._take()
        self._wake()
        self._is_open = True
        try:
            yield
        finally:
            self._is_open = False
        self._rest()

    def _wake(self) -> None:
        """Be ready to sample; the weights are there."""

    def _rest(self) -> None:
        """Nothing is sampled for a while."""

    @contextmanager
    def _naming_broken_weights(self) -> Iterator[None]:
        try:
            yield
        except EngineUnavailableError as error:
            # A server cannot say nan in JSON: it answers like one that is down, and waiting would not mend that.
            if (broken := not_finite(self.policy.model)) is None:
                raise
            raise RuntimeError(
                f"the engine fails on the policy's weights, and these are not finite: {broken}; {CURE} ({error})"
            ) from error

    def _check(self, completions: Sequence[Completion]) -> None:
        """Make sure that an engine gave numbers, and tokens.

        Raises:
            RuntimeError: it did not.
        """
        if not completions:
            return
        if not torch.cat([completion.logprobs for completion in completions]).isfinite().all():
            raise RuntimeError(
                f"log-probabilities from the engine are not finite: {why_not_finite(self.policy.model)}; {CURE}"
            )
        tokens = torch.cat([completion.tokens for completion in completions])
        beyond = tokens[torch.isin(tokens, torch.tensor(self.policy.masked_ids, dtype=torch.int64))]
        if len(beyond):
            raise RuntimeError(
                f"the engine sampled the id {int(beyond[0])}, which no token of the policy's tokenizer has; start "
                "its servers with python -m policies.rollouts.vllm_launch, and give them to this run alone"
            )

    def _take(self) -> None:
        self._version = None  # while this goes on, and if it fails, the weights are no version's
        self._load(self._policy_version)
        self._version = self._policy_version

    @abstractmethod
    def _load(self, version: int) -> None:
        """Put the policy's weights, as they are now, into the engine; start it where it is not running."""

    @abstractmethod
    def _generate(
        self, prompts: Sequence[Tensor], num_samples: int, sampling: Sampling
    ) -> list[list[Completion]]:
        """`generate` with the weights that are there."""


def requests(
    sampling: Sampling, number: int, num_samples: int, stop_ids: Iterable[int]
) -> list[dict[str, Any]]:
    """vLLM's ``SamplingParams`` for the responses to prompt ``number`` of a batch: one a temperature.

    vLLM takes no greedy request for several; `joined` puts the answers together.  The whole distribution,
    log-probabilities of the sampled tokens only, an end at ``stop_ids`` and nowhere else.  Sample k of a prompt has
    the seed of the prompt plus k: vLLM's own rule for n > 1.  So chance comes from an address here too, though not
    the numbers of `rollouts/addressed_sampling.py`.

    Raises:
        ValueError: vLLM does not sample at that temperature.
    """
    if sampling.temperature > LARGEST_TEMPERATURE:
        raise ValueError(
            f"vLLM samples at temperatures up to {LARGEST_TEMPERATURE:g}, got {sampling.temperature:g}; lower "
            "rollout.temperature or the limits of the loop that moves it, or take the engine 'transformers'"
        )
    whole = {
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "max_tokens": sampling.max_tokens,
        "seed": prompt_seed(sampling.seed, sampling.number(number)),
        "logprobs": 0,
        "stop_token_ids": list(stop_ids),
        "ignore_eos": True,
        "detokenize": False,
    }
    num_greedy = 1 if sampling.temperature == 0 or sampling.starts_greedily(number) else 0
    num_sampled = num_samples - num_greedy if sampling.temperature else 0
    wanted = [(num_greedy, 0.0), (num_sampled, sampling.temperature)]
    return [{"n": n, "temperature": temperature, **whole} for n, temperature in wanted if n]


def joined(answers: Iterable[Sequence[Completion]], num_samples: int) -> list[Completion]:
    """The responses to one prompt, from the answers to its `requests`; a greedy one alone stands for all."""
    group = [each for answer in answers for each in answer]
    return group if len(group) == num_samples else group * num_samples


def prompt_seed(seed: int, number: int) -> int:
    """A seed of 62 bits for the prompt of that number: room above it for one of each sample."""
    digest = blake2b(repr((seed, number)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 2


def completion(
    tokens: Sequence[int], logprobs: Sequence[float], versions: Iterable[tuple[int, int]], *, finished: bool
) -> Completion:
    """From plain numbers; ``versions`` are pairs of a version and the number of tokens sampled with it."""
    counts = list(versions)
    return Completion(
        tokens=torch.tensor(tokens, dtype=torch.int64),
        logprobs=torch.tensor(logprobs, dtype=torch.float32),
        finished=finished,
        versions=torch.repeat_interleave(
            torch.tensor([version for version, _ in counts]), torch.tensor([count for _, count in counts])
        ),
    )
