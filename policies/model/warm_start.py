"""Supervised start of a built-in policy on imperfect demonstrations.

Reinforcement learning needs a policy that sometimes succeeds.  Demonstrations with mistakes in them
teach the form of a solution and leave doubt about its content: the policy starts with entropy to
lose, a middling pass rate, and nearly every problem solvable by some sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from policies.statistics.sequences import pack

if TYPE_CHECKING:  # see loading.py
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from policies.statistics.sequences import Sequences

Demonstrations = Callable[[int], Sequence[Sequence[str]]]
"""Give the n-th batch: each a prompt, a turn, and where the task answers back, replies and turns in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """Supervised training before reinforcement learning; ``num_steps=0`` leaves the policy as it is."""

    num_steps: int = 700
    """Optimiser steps; 0 leaves the policy as it was drawn."""
    batch_size: int = 64
    """Demonstrations in each step."""
    learning_rate: float = 3e-3
    """Peak learning rate of AdamW [per step]."""
    error_rate: float = 0.18
    """Chance of each character of a demonstration to be replaced; more leaves more entropy and fewer right answers."""
    seed: int | None = 0
    """Seed of the weights and the demonstrations; null takes that of each run, so that every seed has its own start."""

    def __post_init__(self) -> None:
        if self.num_steps < 0:
            raise ValueError(f"num_steps must be >= 0, got {self.num_steps}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {self.batch_size}")
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate must be between 0 and 1, got {self.learning_rate}")
        if not 0 <= self.error_rate <= 1:
            raise ValueError(f"error_rate must be between 0 and 1, got {self.error_rate}")

    @property
    def known_seed(self) -> int:
        """``seed``, where it is known.

        Raises:
            ValueError: it is null, and there is no run whose seed it could be.
        """
        if self.seed is None:
            raise ValueError(
                "policy.warm_start.seed: null is the seed of a run, and there is none here; give one"
            )
        return self.seed


def warm_start(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    demonstrations: Demonstrations,
    settings: WarmStart,
) -> float:
    """Train ``model`` in place by cross-entropy on the tokens of turns; give the last loss [nats/token].

    AdamW on one cycle (Smith, arXiv 1708.07120): the learning rate rises over the first tenth of the
    steps and falls to nothing over the others, both along a cosine, and β1 goes the other way.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=0.01)
    rise = 0.1 if settings.num_steps > 10 else 0.3  # a rise of one step divides by zero in torch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=max(1, settings.num_steps), pct_start=rise
    )
    model.train()
    last = float("nan")
    for step in range(settings.num_steps):
        sequences = _packed(demonstrations(step), tokenizer)
        rows, columns = sequences.places()
        logits = model(
            input_ids=sequences.input_ids, attention_mask=sequences.attention_mask, use_cache=False
        ).logits
        loss = torch.nn.functional.cross_entropy(
            logits[rows, columns - 1], sequences.input_ids[rows, columns]
        )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        last = loss.item()
    return last


def _packed(batch: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase) -> Sequences:
    """A row a demonstration: every turn ends with the end-of-sequence token, a reply does not."""
    prompts, responses, spoken = [], [], []
    for prompt, *said in batch:
        pieces = [
            [*tokenizer(text)["input_ids"], *([tokenizer.eos_token_id] if place % 2 == 0 else [])]
            for place, text in enumerate(said)
        ]
        prompts.append(torch.tensor(tokenizer(prompt)["input_ids"]))
        responses.append(torch.tensor([token for piece in pieces for token in piece]))
        turns = [place % 2 == 0 for place, piece in enumerate(pieces) for _ in piece]
        spoken.append(torch.tensor(turns))
    return pack(prompts, responses, tokenizer.pad_token_id, spoken)
