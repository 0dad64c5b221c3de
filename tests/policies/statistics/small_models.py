"""Small models of three kinds, and rows of groups that share their prompts."""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen3Config

from policies.statistics.sequences import pack

SMALL = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "pad_token_id": 0,
}
CONFIGS = {
    "llama": LlamaConfig(**SMALL),
    "qwen3": Qwen3Config(**SMALL),
    "learned positions": GPT2Config(
        vocab_size=40, n_embd=32, n_layer=3, n_head=2, bos_token_id=1, eos_token_id=2
    ),
}
# (prompt, response) lengths of groups: ragged, a response of one token, an empty one, a prompt of one token
GROUPS = [(5, [3, 1, 6]), (2, [0, 4]), (1, [2, 2, 2]), (7, [3])]


def model_of(config, dtype=torch.float64):
    """Random weights that are large enough for any mistake to show."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").to(dtype).eval()
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.2)
    return model


def rows_of(groups):
    """Random rows with those lengths; a group shares its prompt."""
    generator = torch.Generator().manual_seed(1)
    prompts, responses = [], []
    for prompt, lengths in groups:
        own = torch.randint(4, 40, (prompt,), generator=generator)
        prompts += [own] * len(lengths)
        responses += [torch.randint(4, 40, (length,), generator=generator) for length in lengths]
    return pack(prompts, responses, pad_id=0)
