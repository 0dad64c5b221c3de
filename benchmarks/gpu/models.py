"""Models of known shapes with random weights, and rows for them to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from benchmarks.gpu.bench import Bench
from policies.model.loading import LoadedPolicy
from policies.model.tiny import character_tokenizer
from policies.statistics.sequences import Sequences, pack

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Shape:
    """As much of a configuration of Qwen2 as differs between its sizes."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int
    tied: bool

    def of_layers(self, layers: int) -> Shape:
        """The same with as many blocks, for what is proportional to them."""
        return replace(self, layers=layers)


QWEN_1B5 = Shape(1536, 8960, 28, 12, 2, 151_936, tied=True)
QWEN_7B = Shape(3584, 18_944, 28, 28, 4, 152_064, tied=False)
TINY = Shape(64, 128, 2, 2, 1, 320, tied=True)


def random_model(bench: Bench, shape: Shape, *, filled: bool = True) -> PreTrainedModel:
    """A model in float32 on the device, as `load_pretrained` leaves one; ``filled`` gives it values."""
    from transformers import AutoModelForCausalLM, Qwen2Config

    config = Qwen2Config(
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=32_768,
    )
    torch.manual_seed(0)
    with bench.device if filled else torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=torch.float32)
    return (model if filled else model.to_empty(device=bench.device)).eval()


def random_policy(bench: Bench, shape: Shape, *, filled: bool = True) -> LoadedPolicy:
    """The same as a policy; its tokenizer knows digits alone."""
    return LoadedPolicy(random_model(bench, shape, filled=filled), character_tokenizer("0123456789", 32_768))


def rows(lengths: Sequence[tuple[int, int]], vocabulary: int, *, one_prompt: bool = False) -> Sequences:
    """Random rows of these lengths [tokens of prompt, tokens of response]."""
    generator = torch.Generator().manual_seed(0)
    prompts = [torch.randint(vocabulary, (prompt,), generator=generator) for prompt, _ in lengths]
    responses = [torch.randint(vocabulary, (response,), generator=generator) for _, response in lengths]
    return pack([prompts[0]] * len(prompts) if one_prompt else prompts, responses, pad_id=0)
