"""Randomness by address: the seed of every draw is made from its purpose, so there is no stream to save.

A run that continues from a checkpoint, skips an evaluation, or is divided over ranks draws the same
numbers at iteration t as one that does not.
"""

from __future__ import annotations

from hashlib import blake2b


def derive_seed(*address: int | str) -> int:
    """A seed of 63 bits for what ``address`` names, for instance ``(run_seed, "rollout", t)``."""
    digest = blake2b(repr(address).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
