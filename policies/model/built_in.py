"""The policy that is made from nothing: ``builtin:tiny``, with a supervised start."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

from policies.finite_weights import not_finite
from policies.model.cache import made_once
from policies.model.loading import LoadedPolicy, load_pretrained
from policies.model.tiny import TinyModel, character_tokenizer, tiny_model
from policies.model.warm_start import Demonstrations, WarmStart, warm_start

FINGERPRINTED = 4
"""Batches of demonstrations that tell one start from another."""


def built_in(
    architecture: TinyModel, start: WarmStart, alphabet: str, demonstrations: Demonstrations
) -> LoadedPolicy:
    """Make ``builtin:tiny`` with its supervised start, or take it from the cache."""
    return load_pretrained(built_in_folder(architecture, start, alphabet, demonstrations))


def built_in_folder(
    architecture: TinyModel, start: WarmStart, alphabet: str, demonstrations: Demonstrations
) -> str:
    """The folder of ``builtin:tiny`` in the cache.

    The cache key is a hash of everything that goes in: architecture, settings, alphabet, the
    demonstrations themselves (of the first batches) and the versions of torch and transformers.

    Raises:
        ValueError: the supervised start has diverged; nothing of that is kept.  Or it has no seed.
    """
    seed = start.known_seed

    def make(folder: Path) -> None:
        tokenizer = character_tokenizer(alphabet, architecture.max_tokens)
        made = LoadedPolicy(tiny_model(architecture, tokenizer, seed), tokenizer)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            warm_start(made.model, tokenizer, demonstrations, start)
        if (broken := not_finite(made.model)) is not None:
            raise ValueError(
                f"policy.warm_start: has diverged, these weights are not finite: {broken}; lower its learning_rate"
            )
        made.save(folder)

    return str(made_once(_fingerprint(architecture, start, alphabet, demonstrations), make))


def _fingerprint(
    architecture: TinyModel, start: WarmStart, alphabet: str, demonstrations: Demonstrations
) -> str:
    shown: list[Sequence[Sequence[str]]] = [
        demonstrations(n) for n in range(min(FINGERPRINTED, start.num_steps))
    ]
    recipe = [asdict(architecture), asdict(start), sorted(set(alphabet)), shown]
    versions = [version("torch"), version("transformers")]
    return hashlib.sha256(json.dumps([recipe, versions]).encode()).hexdigest()[:20]
