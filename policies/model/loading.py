"""Policies from a local folder, a hub id or a GGUF file."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from tokenizers.decoders import DecodeStream

from policies.finite_weights import not_finite
from policies.model.chat import Chat
from policies.model.gguf_files import converted
from policies.model.intact import SUMS, damage, seal
from policies.model.prompt_start import Bos, start_ids, with_start
from policies.model.saving import save_adapters, save_model, save_one_by_one, save_weights
from policies.model.skeleton import fill, skeleton
from policies.model.sources import GGUF, local_source
from policies.model.trainable import (
    adapters_off,
    fold_in_adapters,
    has_adapters,
    merged_weights,
)
from policies.sharding import full, given_back, is_sharded
from policies.statistics.response_statistics import check_head

_BROKEN = (SafetensorError, struct.error)

log = logging.getLogger(__name__)

if TYPE_CHECKING:  # transformers takes seconds to import, and reading a campaign comes through here
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A causal language model that can be trained, and how it is spoken to.

    Adapters sit inside ``model``, which is a plain transformers model with or without them.

    A model may have more logits than its tokenizer has tokens (Qwen2.5: 151,936 and 151,665), whose weights are
    untrained.  Such ids are ``masked_ids``: no engine samples one, and entropy and log-probabilities are
    of the distribution over the others.

    Raises:
        ValueError: ``bos`` asks for a token that the tokenizer does not have.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    chat: Chat | None = None
    extra_stop_ids: tuple[int, ...] = ()
    bos: Bos = "tokenizer"
    masked_ids: tuple[int, ...] = field(init=False)
    """Ids of logits that no token of the tokenizer has, in order."""
    start: tuple[int, ...] = field(init=False)
    """Ids before those of a prompt's text (`prompt_start.start_ids`); none under ``chat``."""

    def __post_init__(self) -> None:
        num_logits = self.model.get_output_embeddings().weight.shape[0]
        masked = sorted(set(range(num_logits)) - set(self.tokenizer.get_vocab().values()))
        object.__setattr__(self, "masked_ids", tuple(masked))
        start = [] if self.chat else start_ids(self.tokenizer, self.bos)
        object.__setattr__(self, "start", tuple(start))

    def encode(self, prompt: str, system: str = "") -> torch.Tensor:
        """Token ids [L] of a prompt, which every engine and the learner are given as they are.

        Under ``chat`` it is a user's turn, with the special tokens that the template writes and no others.
        Otherwise it is the text as it stands, behind what ``bos`` says comes first (``start``): once, even where the
        text writes it too.

        ``system`` is the message that the prompt's data set puts before it: the system's turn under ``chat``,
        in place of its own, otherwise a paragraph.

        Raises:
            ValueError: it has no token, so nothing predicts the first one of a response; or there is no chat
                template where one is asked for.
        """
        if self.chat:
            ids = self.chat.opening(self.tokenizer, prompt, system)
        else:
            text = f"{system}\n\n{prompt}" if system else prompt
            ids = with_start(list(self.start), self._ids(text))
        if not ids:
            raise ValueError(f"a prompt must have at least one token, got {prompt!r}; fix the task's data")
        return torch.tensor(ids, dtype=torch.int64)

    def encode_reply(self, text: str, response: torch.Tensor) -> torch.Tensor:
        """Token ids [L] that come between a response [L], which they answer, and the policy's next one."""
        if self.chat is None:
            return torch.tensor(self._ids(text), dtype=torch.int64)
        last = int(response[-1]) if len(response) else None
        ended_with = last if last in self.stop_ids else None
        return torch.tensor(self.chat.reply(self.tokenizer, text, ended_with), dtype=torch.int64)

    def decode(self, responses: Sequence[torch.Tensor]) -> list[str]:
        """Texts of responses, without special tokens and without the token that ended them."""
        ids, stop_ids = [tokens.tolist() for tokens in responses], set(self.stop_ids)
        ids = [row[:-1] if row and row[-1] in stop_ids else row for row in ids]
        # Transformers makes one empty text of no rows.
        return list(self.tokenizer.batch_decode(ids, skip_special_tokens=True)) if ids else []

    def pieces(self, tokens: torch.Tensor) -> list[str]:
        """Text of each token [L], special ones too; joined they are the whole text.

        A character of several tokens is the text of the last of them, and those before it have none.
        """
        stream, backend = DecodeStream(skip_special_tokens=False), self.tokenizer.backend_tokenizer
        return [stream.step(backend, each) or "" for each in tokens.tolist()]

    def stopping_at(self, texts: Sequence[str]) -> LoadedPolicy:
        """The same policy, whose responses end at these texts too.

        Raises:
            ValueError: one of them is not exactly one token.
        """
        return replace(self, extra_stop_ids=tuple(self._stop_id(text) for text in texts))

    def _stop_id(self, text: str) -> int:
        ids = self._ids(text)
        if len(ids) != 1 or ids[0] == self.tokenizer.unk_token_id:
            raise ValueError(
                f"rollout.stop: {text!r} must be one token of the policy's tokenizer, and is {len(ids)} "
                f"({', '.join(map(repr, self.tokenizer.convert_ids_to_tokens(ids)))}); choose another text"
            )
        return int(ids[0])

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

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
    def context(self) -> int | None:
        """Tokens that a prompt and what follows it may have together; None where the model does not say."""
        return getattr(self.model.config.get_text_config(), "max_position_embeddings", None)

    @property
    def vocabulary_size(self) -> int:
        """Number of ids that can be sampled, which bounds entropy by ln V."""
        return int(self.model.get_output_embeddings().weight.shape[0]) - len(self.masked_ids)

    def reference(self) -> AbstractContextManager[None]:
        """The policy without what its adapters have learned, for a while.

        Raises:
            ValueError: it has none, so what it started from is not there any more.
        """
        if not has_adapters(self.model):
            raise ValueError("a policy without adapters has no reference inside it; set policy.lora")
        return adapters_off(self.model)

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Names and weights of the whole policy, adapters merged in, as a checkpoint without any has them."""
        return ((name, full(weight)) for name, weight in merged_weights(self.model))

    def save(self, folder: Path, *, merge: bool = False, write: bool = True) -> None:
        """Write safetensors, configuration and tokenizer, as ``from_pretrained`` reads them, and the weights' checksums.

        For a policy with adapters only these and the source of their base are written, unless ``merge``.
        All ranks of several call this, because a sharded policy is gathered by all, and one has to ``write``.
        """
        if has_adapters(self.model) and not merge:
            save_adapters(self.model, folder, write=write)
        elif is_sharded(self.model):
            save_one_by_one(self.model, self.weights(), folder, write=write)
        elif write and has_adapters(self.model):
            save_weights(self.model, dict(self.weights()), folder)
        elif write:
            save_model(self.model, folder)
        if write:
            self.tokenizer.save_pretrained(folder)
            seal(folder)


def load_pretrained(source: str, *, trust_remote_code: bool = False) -> LoadedPolicy:
    """Load a local folder, a GGUF file, the model of a package or a hub id, in float32.

    Adapters in the folder are merged into their base, and the loaded model has none.

    The model is in evaluation mode, and training leaves it there: with dropout, the policy that learns
    and whose entropy is measured would not be the one that was sampled from.

    Every weight of it is finite, and its logits are its output head applied to its last hidden states.

    Raises:
        ValueError: nothing loadable is there; the message says what to do.
    """
    path = local_source(source)
    with _naming(source):
        name = _name(source, path)
        model = _model(name, trust_remote_code=trust_remote_code)
        tokenizer = _tokenizer(name, trust_remote_code=trust_remote_code)
    return _together(source, model, tokenizer)


@dataclass(frozen=True, slots=True)
class Unfilled:
    """A policy that waits to be spread over ranks, before its weights are read."""

    source: str
    policy: LoadedPolicy
    folder: Path | None
    """Folder with its weights; None where it has them already, since its files could not be read by shares."""

    def fill(self, device: torch.device) -> None:
        """Read this rank's share of the weights; all ranks come here, since the model is run once.

        Raises:
            ValueError: as `load_pretrained` does.
        """
        if self.folder is None:
            return
        model = self.policy.model
        with _naming(self.source), given_back(model):
            fill(model, self.folder, device)
            _check_finite(model)
            check_head(model)


def load_unfilled(source: str, *, trust_remote_code: bool = False) -> Unfilled:
    """`load_pretrained` for a policy that is going to be sharded; what it promises of the weights holds after ``fill``."""
    path = local_source(source)
    with _naming(source):
        name = _name(source, path)
        found = skeleton(name, trust_remote_code=trust_remote_code)
        if found is None:
            log.info(
                "every rank reads all of %s before it keeps its share: its files are not by weight", source
            )
        model, folder = found or (_model(name, trust_remote_code=trust_remote_code), None)
        tokenizer = _tokenizer(name, trust_remote_code=trust_remote_code)
    return Unfilled(source, _together(source, model, tokenizer), folder)


def _name(source: str, path: Path | None) -> str:
    """What transformers loads: an intact folder, or a hub id."""
    if path is not None and path.is_dir() and (broken := damage(path)) is not None:
        raise ValueError(
            f"{broken}; restore it from a copy, or remove {path / SUMS} if you have changed the folder on purpose"
        )
    return str((converted(path) if path.suffix == GGUF else path) if path else source)


def _model(name: str, *, trust_remote_code: bool) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(  # nosec B615  # the source that the user named
        name, dtype=torch.float32, trust_remote_code=trust_remote_code
    )
    _check_finite(model)
    if has_adapters(model):
        fold_in_adapters(model)
    check_head(model)
    return model


def _check_finite(model: PreTrainedModel) -> None:
    if (broken := not_finite(model)) is not None:
        raise ValueError(
            f"these of its weights are not finite: {broken}; restore it from a copy, or choose another checkpoint"
        )


def _tokenizer(name: str, *, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)  # nosec B615  # the source that the user named


def _together(source: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> LoadedPolicy:
    """A policy of a model and its tokenizer, if they belong together."""
    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"the tokenizer of {source!r} has no end-of-sequence token; set one and save it again"
        )
    tokens, rows = max(tokenizer.get_vocab().values()) + 1, model.get_input_embeddings().weight.shape[0]
    if tokens > rows:
        raise ValueError(
            f"model and tokenizer of {source!r} do not belong together: the tokenizer has {tokens} tokens, the "
            f"model embeds {rows}; take both from one checkpoint, or resize the embeddings and save it again"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return LoadedPolicy(model, tokenizer)


@contextmanager
def _naming(source: str) -> Iterator[None]:
    """What transformers lets through says whose fault it is: files that are not there or broken, a package that is missing."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, ImportError, LookupError, *_BROKEN) as error:
        raise ValueError(f"model {source!r} cannot be loaded: {error}") from error
