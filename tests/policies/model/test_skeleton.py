"""A model that gets its weights after it is sharded is the one that was loaded whole; over one rank, in this process."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from policies.model.loading import load_pretrained, load_unfilled
from policies.model.skeleton import skeleton
from policies.model.trainable import Lora, add_adapters, train_last_layers
from policies.sharding import full, shard
from policies.statistics.response_statistics import View, response_statistics, token_values
from policies.statistics.sequences import pack

pytestmark = pytest.mark.trains

CPU = torch.device("cpu")
PROMPTS = [torch.tensor([4, 5, 6]), torch.tensor([7, 8])]


@pytest.fixture
def source(policy, tmp_path):
    policy.save(tmp_path / "model")
    return str(tmp_path / "model")


def prepared(source, change, mesh=None, *, half=False):
    """A policy with what is trained of it, whole or over a mesh."""
    if mesh is None:
        policy = load_pretrained(source)
        change(policy.model)
        return policy
    unfilled = load_unfilled(source)
    assert all(weight.is_meta for weight in unfilled.policy.model.parameters())
    change(unfilled.policy.model)
    shard(unfilled.policy.model, mesh, half=half, run=token_values)
    unfilled.fill(CPU)
    return unfilled.policy


def nothing(_):
    """All of it is trained."""


def adapters(model):
    add_adapters(model, Lora(rank=2, alpha=8.0))


def last_layer(model):
    train_last_layers(model, 1)


def entropy_and_gradients(model):
    sequences = pack(PROMPTS, [torch.tensor([4, 9, 2]), torch.tensor([5])], pad_id=0)
    seen = response_statistics(model, sequences, View(temperature=0.9, entropy_gradient=True))
    (seen.entropy.sum() + seen.logprobs.sum()).backward()
    return seen.entropy.detach(), {n: full(p.grad) for n, p in model.named_parameters() if p.grad is not None}


def step(model):
    """Move what is trained, so that adapters do something."""
    entropy_and_gradients(model)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.grad is not None:
                weight -= 0.05 * weight.grad
    model.zero_grad()


@pytest.mark.parametrize("change", [nothing, adapters, last_layer])
def test_weights_gradients_and_what_is_trained_are_those_of_the_whole(source, mesh, change):
    whole, sharded = prepared(source, change), prepared(source, change, mesh)
    expected, found = whole.model.state_dict(), sharded.model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(full(found[name]), weight) for name, weight in expected.items())
    for policy in (whole, sharded):
        step(policy.model)
    (one, gradients), (other, others) = (entropy_and_gradients(each.model) for each in (whole, sharded))
    torch.testing.assert_close(other, one)
    assert gradients
    assert others.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient)
    assert sharded.stop_ids == whole.stop_ids
    assert sharded.model.config.to_diff_dict() == whole.model.config.to_diff_dict()


def test_under_half_precision_the_base_of_adapters_is_kept_in_half(source, mesh):
    policy = prepared(source, adapters, mesh, half=True)
    kinds = {(weight.requires_grad, weight.dtype) for weight in policy.model.parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}
    entropy, gradients = entropy_and_gradients(policy.model)
    expected, _ = entropy_and_gradients(prepared(source, adapters).model)
    torch.testing.assert_close(entropy, expected, atol=0.05, rtol=0)
    assert {gradient.dtype for gradient in gradients.values()} == {torch.float32}


@pytest.mark.parametrize("merge", [True, False])
def test_adapters_are_saved_as_those_of_the_whole(source, mesh, tmp_path, merge):
    for name, policy in (("one", prepared(source, adapters)), ("other", prepared(source, adapters, mesh))):
        step(policy.model)
        policy.save(tmp_path / "nobody", merge=merge, write=False)
        policy.save(tmp_path / name, merge=merge)
    assert not (tmp_path / "nobody").exists()
    file = "model.safetensors" if merge else "adapter_model.safetensors"
    one, other = (load_file(tmp_path / name / file) for name in ("one", "other"))
    assert other.keys() == one.keys()
    for name, weight in one.items():
        torch.testing.assert_close(other[name], weight)
    configs = [
        json.loads((tmp_path / name / "generation_config.json").read_text()) for name in ("one", "other")
    ]
    assert configs[0] == configs[1]
    assert load_pretrained(str(tmp_path / "other")).stop_ids == load_pretrained(source).stop_ids


def test_what_transformers_has_to_convert_is_loaded_whole(policy, source, tmp_path, caplog):
    weights = load_file(tmp_path / "model" / "model.safetensors")
    save_file(
        {f"other.{name}": weight for name, weight in weights.items()},
        tmp_path / "model" / "model.safetensors",
    )
    assert skeleton(source) is None
    policy.save(tmp_path / "model")
    adapters(policy.model)
    policy.save(tmp_path / "adapters")
    (tmp_path / "adapters" / "adapter_config.json").write_text(
        json.dumps(
            json.loads((tmp_path / "adapters" / "adapter_config.json").read_text())
            | {"base_model_name_or_path": source}
        )
    )
    with caplog.at_level("INFO"):
        unfilled = load_unfilled(str(tmp_path / "adapters"))
    assert "every rank reads all of" in caplog.text
    assert not any(weight.is_meta for weight in unfilled.policy.model.parameters())


def test_a_weight_that_is_not_finite_is_found_in_the_share(source, mesh, tmp_path):
    file = tmp_path / "model" / "model.safetensors"
    weights = load_file(file)
    weights["model.norm.weight"][3] = float("nan")
    save_file(weights, file)
    (tmp_path / "model" / "SHA256SUMS").unlink()
    with pytest.raises(
        ValueError, match=r"cannot be loaded: these of its weights are not finite: model\.norm\.weight \(1 of"
    ):
        prepared(source, nothing, mesh)
