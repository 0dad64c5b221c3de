"""``builtin:tiny``: a real small causal language model with a character tokenizer, made from nothing.

The point of it is that entropy collapse can be watched on a laptop: it is a transformers Llama like
any other, only that a training iteration takes a tenth of a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

if TYPE_CHECKING:  # see loading.py
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<unk>")


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyModel:
    """Architecture of the built-in policy; the defaults have about 0.1 million parameters.

    ``head_dim`` is 32 or 64, the sizes that every rollout engine accepts.
    """

    hidden_size: int = 64
    """Width of the residual stream."""
    intermediate_size: int = 192
    """Width of each feed-forward layer."""
    num_layers: int = 2
    """Decoder blocks."""
    num_heads: int = 2
    """Attention heads of each block."""
    head_dim: int = 32
    """Width of an attention head."""
    max_tokens: int = 256
    """Longest sequence, prompt and response together [tokens]."""
    initializer_range: float = 0.02
    """Standard deviation of the first weights.  The default is that of large models; so small a model learns sooner,
    and on any machine, from 0.06."""

    def __post_init__(self) -> None:
        if self.head_dim not in (32, 64):
            raise ValueError(
                f"head_dim must be 32 or 64 (rollout engines take no other), got {self.head_dim}"
            )
        if not 0 < self.initializer_range < 1:
            raise ValueError(f"initializer_range must be between 0 and 1, got {self.initializer_range}")
        for name in ("hidden_size", "intermediate_size", "num_layers", "num_heads", "max_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")


def vocabulary_size(alphabet: str) -> int:
    """Tokens of a character tokenizer over ``alphabet``."""
    return len(SPECIAL_TOKENS) + len(set(alphabet))


def character_tokenizer(alphabet: str, max_tokens: int) -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are the characters of ``alphabet``; decoding is exact."""
    from transformers import PreTrainedTokenizerFast

    tokens = [*SPECIAL_TOKENS, *sorted(set(alphabet))]
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))  # nosec B106  # no password: a token of the tokenizer
    # "." does not match a newline, "[\s\S]" does.
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",  # nosec B106  # no password: a token of the tokenizer
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        padding_side="left",
        model_max_length=max_tokens,
    )


def tiny_model(architecture: TinyModel, tokenizer: PreTrainedTokenizerFast, seed: int) -> PreTrainedModel:
    """A freshly initialised Llama; the global random state is left as it was."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=architecture.hidden_size,
        intermediate_size=architecture.intermediate_size,
        num_hidden_layers=architecture.num_layers,
        num_attention_heads=architecture.num_heads,
        num_key_value_heads=architecture.num_heads,
        head_dim=architecture.head_dim,
        max_position_embeddings=architecture.max_tokens,
        initializer_range=architecture.initializer_range,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=torch.float32)
