"""A policy that several ranks gather is gathered to its end, also where the disk of the one that writes fails."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch
from safetensors import SafetensorError
from transformers import LlamaConfig, LlamaForCausalLM

from policies.model.saving import save_one_by_one


@pytest.fixture
def model():
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    return LlamaForCausalLM(LlamaConfig(vocab_size=11, **sizes))


def gathered(model, names):
    """The weights of a model, one after the other; notes each that is asked for."""
    for name, weight in model.state_dict().items():
        names.append(name)
        yield name, weight


@pytest.mark.parametrize("error", [OSError("no room"), SafetensorError("no room")])
def test_a_disk_that_fails_at_the_first_file_ends_no_gathering(model, tmp_path, monkeypatch, error):
    tried, names = [], []

    def fail(tensors, path, metadata):
        tried.append(path)
        raise error

    monkeypatch.setattr(safetensors.torch, "save_file", fail)
    with pytest.raises(type(error), match="no room"):
        save_one_by_one(model, gathered(model, names), tmp_path, file_bytes=1)  # a weight a file
    assert names == list(model.state_dict())
    assert len(tried) == 1
    assert not any(tmp_path.iterdir())


def test_a_rank_that_does_not_write_gathers_the_same(model, tmp_path):
    names = []
    save_one_by_one(model, gathered(model, names), tmp_path / "none", write=False, file_bytes=1)
    assert names == list(model.state_dict())
    assert not (tmp_path / "none").exists()
    save_one_by_one(model, gathered(model, names), tmp_path / "all", file_bytes=1)
    again = LlamaForCausalLM.from_pretrained(tmp_path / "all").state_dict()
    assert all(torch.equal(weight, again[name]) for name, weight in model.state_dict().items())
