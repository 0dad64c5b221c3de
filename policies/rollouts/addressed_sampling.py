"""Random numbers by address: the seed of a response depends on which response it is and on nothing else.

A batch therefore gives the same responses however it is divided into smaller ones or over processes, up to the
rounding of the logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor


def uniforms(seed: int, prompt: int, sample: int, num_steps: int) -> Tensor:
    """[num_steps] float64 in [0, 1): one number for each token of a sample of a prompt."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, prompt, sample])))
    return torch.from_numpy(generator.random(num_steps))


def draw(logprobs: Tensor, uniform: Tensor) -> Tensor:
    """Tokens [B] int64 by inversion: the first whose cumulative probability is above ``uniform`` [B].

    ``logprobs`` [B, V] are normalised up to rounding.  One number a row does, where exponential races
    (`torch.multinomial`) need one for every entry of the vocabulary.
    """
    cumulative = logprobs.double().exp_().cumsum_(dim=-1)
    threshold = uniform.to(cumulative)[:, None] * cumulative[:, -1:]
    chosen = torch.searchsorted(cumulative, threshold, right=True)[:, 0]
    return chosen.clamp(max=logprobs.shape[-1] - 1)


def turn_seed(seed: int, turn: int) -> int:
    """63 bits for the chance in a later turn of an episode."""
    return int(np.random.SeedSequence([seed, turn]).generate_state(1, np.uint64)[0] >> 1)
