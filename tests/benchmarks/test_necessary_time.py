"""The operations that an iteration cannot do without, by hand."""

from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.necessary_time import parts

CONFIG = LlamaConfig(
    vocab_size=10, hidden_size=4, intermediate_size=6, num_hidden_layers=1, num_attention_heads=2
)
BLOCKS = 4 * 4 * 4 + 3 * 4 * 6
HEAD = 4 * 10


def test_no_product_is_counted_twice_and_none_with_a_token_that_nothing_follows():
    """Two prompts of 5 and 6 tokens, and to each 3 responses of 4: two operations for each entry of a matrix and token."""
    found = {
        part.name: part.times * part.flop / 2
        for part in parts(LlamaForCausalLM(CONFIG), 11, num_prompts=2, group_size=3, length=4)
    }
    read_again = 6 * 3  # of 4 tokens
    assert found == {
        "rollout: prompts": 11 * BLOCKS,
        "rollout: first tokens": 2 * HEAD,
        "rollout: token by token": read_again * (BLOCKS + HEAD),
        "update: layers": 3 * (11 + read_again) * BLOCKS,
        "update: head": 3 * (2 + read_again) * HEAD,
        "update: AdamW": 0,
    }


def test_responses_of_one_token_need_no_step_of_their_own():
    found = parts(LlamaForCausalLM(CONFIG), 11, num_prompts=2, group_size=3, length=1)
    assert {part.name: part.times for part in found if "token by token" in part.name} == {
        "rollout: token by token": 0
    }
