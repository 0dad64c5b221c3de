"""Measures how much responses repeat themselves."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

DOUBLINGS = 3
"""Doublings of the length of what is looked for: 2³ = 8 tokens.  Shorter ones recur by chance if the vocabulary is of
characters."""

Numbers = NDArray[np.uint64]


def repeated_share(responses: Sequence[Tensor]) -> float:
    """Share of the 8-grams that their own response has had before, over all responses; nan without any.

    1 − distinct / all (seq-rep-n of 1908.04319), with n = 8 and sums over sums.  ``responses`` are [N] of int64
    [length]; those shorter than 8 have no 8-gram.

    An n-gram is known by a hash of 64 bits made of those of its halves: one sort of all tokens, and in a
    batch of a million a chance of 3e-8 that any two are mistaken for one another.
    """
    lengths = [len(response) for response in responses]
    number = torch.cat([*responses, torch.empty(0, dtype=torch.int64)]).cpu().numpy().astype(np.uint64)
    owner = np.repeat(np.arange(len(lengths), dtype=np.uint64), lengths)
    length = 1
    for _ in range(DOUBLINGS):
        number, length = _hash(number[:-length], number[length:]), 2 * length
    starts = owner[: len(number)]
    whole = starts == owner[length - 1 :] if len(number) else np.zeros(0, dtype=bool)
    if not whole.any():
        return nan
    ordered = np.sort(_hash(starts[whole], number[whole]))  # np.unique takes seventy times as long
    distinct = 1 + np.count_nonzero(ordered[1:] != ordered[:-1])
    return float(1.0 - distinct / np.count_nonzero(whole))


def _hash(first: Numbers, second: Numbers) -> Numbers:
    """A number for each ordered pair [T]: the finaliser of SplitMix64 on a sum of multiples."""
    mixed = first * np.uint64(0x9E3779B97F4A7C15) + second * np.uint64(0xD1B54A32D192ED03)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: Numbers = mixed ^ (mixed >> np.uint64(31))
    return result
