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
from torch.nn.functional import cross_entropy

from policies.sequences import pack, token_index

if TYPE_CHECKING:  # see loading.py
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Demonstrations = Callable[[int], Sequence[tuple[str, str]]]
"""Give the (prompt, response) pairs of the n-th batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """Supervised training before reinforcement learning; ``num_steps=0`` leaves the policy as it is."""

    num_steps: int = 700
    batch_size: int = 64
    learning_rate: float = 3e-3
    error_rate: float = 0.18
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_steps < 0:
            raise ValueError(f"num_steps must be >= 0, got {self.num_steps}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {self.batch_size}")
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate must be between 0 and 1, got {self.learning_rate}")
        if not 0 <= self.error_rate <= 1:
            raise ValueError(f"error_rate must be between 0 and 1, got {self.error_rate}")


def warm_start(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    demonstrations: Demonstrations,
    settings: WarmStart,
) -> float:
    """Train ``model`` in place by cross-entropy on response tokens; give the last loss [nats/token].

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
        pairs = demonstrations(step)
        sequences = pack(
            [torch.tensor(tokenizer(prompt)["input_ids"]) for prompt, _ in pairs],
            [
                torch.tensor([*tokenizer(response)["input_ids"], tokenizer.eos_token_id])
                for _, response in pairs
            ],
            tokenizer.pad_token_id,
        )
        rows, position = token_index(sequences)
        columns = sequences.prompt_lengths[rows] + position
        logits = model(
            input_ids=sequences.input_ids, attention_mask=sequences.attention_mask, use_cache=False
        ).logits
        loss = cross_entropy(logits[rows, columns - 1], sequences.input_ids[rows, columns])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        last = loss.item()
    return last
