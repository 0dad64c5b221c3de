"""Policies from a local folder, a hub id, or nothing at all (``builtin:tiny``)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from filelock import FileLock
from safetensors import SafetensorError

from policies.sequences import check_head
from policies.tiny import TinyModel, character_tokenizer, tiny_model
from policies.warm_start import Demonstrations, WarmStart, warm_start

if TYPE_CHECKING:  # transformers takes seconds to import, and reading a campaign comes through here
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BUILTIN = "builtin:tiny"


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A causal language model that can be trained, and its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    extra_stop_ids: tuple[int, ...] = ()

    def encode(self, prompt: str) -> torch.Tensor:
        """Token ids [L] of a prompt as it stands: no chat template, no special tokens added.

        Raises:
            ValueError: it has no token, so nothing predicts the first one of a response.
        """
        ids = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        if not ids:
            raise ValueError(f"a prompt must have at least one token, got {prompt!r}; mend the task's data")
        return torch.tensor(ids, dtype=torch.int64)

    def decode(self, responses: Sequence[torch.Tensor]) -> list[str]:
        """Texts of responses, without special tokens and without the token that ended them."""
        ids = [tokens.tolist() for tokens in responses]
        ids = [row[:-1] if row and row[-1] in self.stop_ids else row for row in ids]
        return list(self.tokenizer.batch_decode(ids, skip_special_tokens=True))

    def stopping_at(self, texts: Sequence[str]) -> LoadedPolicy:
        """The same policy, whose responses end at these texts too.

        Raises:
            ValueError: one of them is not exactly one token.
        """
        return replace(self, extra_stop_ids=tuple(self._stop_id(text) for text in texts))

    def _stop_id(self, text: str) -> int:
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(ids) != 1 or ids[0] == self.tokenizer.unk_token_id:
            raise ValueError(
                f"rollout.stop: {text!r} must be one token of the policy's tokenizer, and is {len(ids)} "
                f"({', '.join(map(repr, self.tokenizer.convert_ids_to_tokens(ids)))}); choose another text"
            )
        return int(ids[0])

    @property
    def pad_id(self) -> int:
        return int(self.tokenizer.pad_token_id)

    @property
    def eos_id(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Tokens that end a response: the tokenizer's end, those of the checkpoint, and what was asked for."""
        own = self.model.generation_config.eos_token_id
        own = [] if own is None else [own] if isinstance(own, int) else own
        return tuple(dict.fromkeys([self.eos_id, *own, *self.extra_stop_ids]))

    @property
    def vocabulary_size(self) -> int:
        """Number of logits, which bounds entropy by ln V."""
        return int(self.model.get_output_embeddings().weight.shape[0])

    def save(self, folder: Path) -> None:
        """Write safetensors, configuration and tokenizer, as ``from_pretrained`` reads them."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def model_folder(source: str) -> Path | None:
    """The local folder that ``source`` names, or None for a hub id.

    Raises:
        ValueError: it names a folder, and no model is there.
    """
    folder = Path(source).expanduser()
    if not (folder.is_absolute() or source.startswith((".", "~")) or folder.exists()):
        return None
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"no model folder at {folder.resolve()} (it needs config.json, weights and tokenizer files); "
            f"write it with save_pretrained, or name a hub id or {BUILTIN}"
        )
    return folder


def load_pretrained(source: str, *, trust_remote_code: bool = False) -> LoadedPolicy:
    """Load a local folder or a hub id in float32.

    The model is in evaluation mode, and training leaves it there: with dropout, the policy that learns
    and whose entropy is measured would not be the one that was sampled from.

    Raises:
        ValueError: nothing loadable is there; the message says what to do.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    name = str(model_folder(source) or source)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            name, dtype=torch.float32, trust_remote_code=trust_remote_code
        )
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
        check_head(model)
    # What transformers lets through: files that are not there or broken, a package that is missing.
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        raise ValueError(f"model {source!r} cannot be loaded: {error}") from error
    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"the tokenizer of {source!r} has no end-of-sequence token; set one and save it again"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return LoadedPolicy(model, tokenizer)


def cache_folder() -> Path:
    """Where made policies are kept: ``$ENTROSTAT_CACHE``, else the user's cache folder."""
    root = os.environ.get("ENTROSTAT_CACHE") or Path(
        os.environ.get("XDG_CACHE_HOME", "~/.cache"), "entrostat"
    )
    return Path(root).expanduser() / "policies"


def built_in(
    architecture: TinyModel, start: WarmStart, alphabet: str, demonstrations: Demonstrations
) -> LoadedPolicy:
    """Make ``builtin:tiny`` with its supervised start, or take it from the cache.

    The cache key is a hash of everything that goes in: architecture, settings, alphabet, the
    demonstrations themselves (of the first batches) and the versions of torch and transformers.
    """
    folder = cache_folder() / _fingerprint(architecture, start, alphabet, demonstrations)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):  # runs that start together make it once
        if not (folder / "config.json").is_file():
            tokenizer = character_tokenizer(alphabet, architecture.max_tokens)
            made = LoadedPolicy(tiny_model(architecture, tokenizer, start.seed), tokenizer)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(start.seed)
                warm_start(made.model, tokenizer, demonstrations, start)
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            made.save(unfinished)
            unfinished.rename(folder)
    return load_pretrained(str(folder))


def _fingerprint(
    architecture: TinyModel, start: WarmStart, alphabet: str, demonstrations: Demonstrations
) -> str:
    shown: list[Sequence[tuple[str, str]]] = [demonstrations(n) for n in range(min(4, start.num_steps))]
    recipe = [asdict(architecture), asdict(start), sorted(set(alphabet)), shown]
    versions = [version("torch"), version("transformers")]
    return hashlib.sha256(json.dumps([recipe, versions]).encode()).hexdigest()[:20]
