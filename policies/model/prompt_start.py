"""The token before a raw prompt: the token that texts begin with (BOS), if the model has one.

Many models have seen nothing in training that does not begin with it, and answer worse without it (Llama, Gemma,
Mistral).  A chat template writes its own, so none of this applies to prompts that go through one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # see loading.py
    from transformers import PreTrainedTokenizerBase

Bos = Literal["tokenizer", "always", "never"]
"""``tokenizer`` is what the tokenizer does by itself; ``always`` its BOS all the same; ``never`` nothing."""

_PROBE = "a"


def start_ids(tokenizer: PreTrainedTokenizerBase, bos: Bos) -> list[int]:
    """Token ids that come before those of a prompt's text; none for most tokenizers without a BOS.

    What a tokenizer puts after a text by itself, an end of sequence, is never among them: the response comes
    after a prompt, not an end.

    Raises:
        ValueError: there is to be a BOS, and the tokenizer has none.
    """
    if bos == "never":
        return []
    own = _put_first(tokenizer)
    if bos == "tokenizer" or tokenizer.bos_token_id in own:
        return own
    if tokenizer.bos_token_id is None:
        raise ValueError(
            "policy.bos: must be 'tokenizer' or 'never' for a tokenizer without a BOS token, got 'always'; change it, "
            "or give the tokenizer one and save it again"
        )
    return [tokenizer.bos_token_id, *own]


def with_start(start: list[int], ids: list[int]) -> list[int]:
    """A prompt's ids behind its start, which a text that writes it itself does not get twice."""
    return ids if ids[: len(start)] == start else [*start, *ids]


def start_of_folder(folder: str) -> tuple[str, str] | None:
    """What the tokenizer of a model folder puts first by itself, and its BOS, both as text; None where it cannot be read."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)  # nosec B615  # a folder on this machine
        return _text(tokenizer, _put_first(tokenizer)), tokenizer.bos_token or ""
    except (
        Exception
    ):  # broken, or with code of its own, which is not run to look at it; loading says what is wrong
        return None


def _text(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return "".join(map(str, tokenizer.convert_ids_to_tokens(ids)))


def _put_first(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    text = list(tokenizer(_PROBE, add_special_tokens=False)["input_ids"])
    whole = list(tokenizer(_PROBE)["input_ids"])
    places = range(len(whole) - len(text) + 1)
    return next((whole[:place] for place in places if whole[place : place + len(text)] == text), [])
