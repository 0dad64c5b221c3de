"""Checkpoints by shares, and weights that are read by share; over one rank, in this process.

Over two ranks they are in test_shares.py and test_two_processes.py.
"""

from __future__ import annotations

import copy
import shutil

import pytest
import torch
from torch import distributed as dist

from orchestrator.campaign import prepare
from orchestrator.configuration.resolve import read_campaign
from orchestrator.storage.run_folder import RunFolder
from orchestrator.training import run
from orchestrator.training import shares as shares_module
from orchestrator.training.checkpoint_files import (
    DamagedCheckpointError,
    digest_of,
    open_checkpoint,
    write_checkpoint,
)
from orchestrator.training.checkpoints import Checkpointer
from orchestrator.training.going_on import NothingToGoOnFromError, where_to_go_on
from orchestrator.training.ranks import Ranks
from orchestrator.training.shares import (
    WholeCheckpoints,
    check_shares,
    drop_unnamed,
    keep_shares,
    read_shares,
    write_shares,
)
from policies.sharding import shard
from policies.statistics.response_statistics import token_values
from tests.orchestrator.training.share_memory import content_of
from tests.orchestrator.training.test_checkpoints import OfTwoRanks, no_space

CPU = torch.device("cpu")


@pytest.fixture
def mesh():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield Ranks().mesh(CPU)
    dist.destroy_process_group()


@pytest.fixture
def model():
    torch.manual_seed(0)
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    return LlamaForCausalLM(LlamaConfig(vocab_size=11, tie_word_embeddings=True, **sizes))


def trained(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for weight in model.parameters():
        weight.grad = torch.full_like(weight, 0.5)
    optimizer.step()
    return optimizer


@pytest.fixture
def saved(model, mesh, tmp_path):
    """A run with a checkpoint by shares, and what one process would have saved."""
    plain = copy.deepcopy(model)
    whole = content_of(plain, trained(plain))
    shard(model, mesh, half=False, run=token_values)
    folder = RunFolder(tmp_path / "run")
    folder.checkpoint_path.parent.mkdir(parents=True)
    rest = write_shares(content_of(model, trained(model)), folder.checkpoint_path, Ranks())
    write_checkpoint(rest, folder.checkpoint_path)
    return folder, whole


def assert_same(found, expected):
    assert found["learner"] == expected["learner"]
    assert found["state_dict"].keys() == expected["state_dict"].keys()
    for name, weight in expected["state_dict"].items():
        assert torch.equal(whole(found["state_dict"][name]), weight)
    (one,), (other,) = found["optimizer_states"], expected["optimizer_states"]
    assert one["param_groups"] == other["param_groups"]
    assert one["state"].keys() == other["state"].keys()
    for number, state in other["state"].items():
        assert {key: whole(value).tolist() for key, value in one["state"][number].items()} == {
            key: value.tolist() for key, value in state.items()
        }


def whole(tensor):
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def test_a_process_that_has_all_of_it_reads_what_it_would_have_written(saved):
    folder, expected = saved
    assert_same(WholeCheckpoints().load_checkpoint(folder.checkpoint_path, weights_only=True), expected)
    kept = open_checkpoint(folder.checkpoint_path)
    assert not kept["state_dict"]
    assert "lm_head.weight" not in {key for _, key in kept["shares"]["keys"]}  # a tied weight is there once


@pytest.mark.parametrize("by_shares", [True, False])
def test_a_rank_reads_its_share_of_either_kind_into_the_weights(saved, mesh, model, by_shares):
    folder, expected = saved
    if not by_shares:
        write_checkpoint(expected, folder.checkpoint_path)
    weights = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for weight in weights.values():
            weight.zero_()
    found = read_shares(folder.checkpoint_path, weights, list(model.parameters()))
    assert_same(found, expected)
    name = "model.norm.weight"
    assert torch.equal(whole(model.state_dict()[name]), expected["state_dict"][name])  # in place


def test_damage_is_noticed(saved):
    folder, _ = saved
    path = folder.checkpoint_path
    content = open_checkpoint(path)
    check_shares(content, path, Ranks())
    (shares,) = folder.shares_paths
    file = shares / "__0_0.distcp"
    broken = bytearray(file.read_bytes())
    broken[len(broken) // 2] ^= 4
    file.write_bytes(bytes(broken))
    with pytest.raises(
        DamagedCheckpointError, match=r"__0_0\.distcp is not what was written, by its checksum"
    ):
        check_shares(content, path, Ranks())
    file.unlink()
    with pytest.raises(DamagedCheckpointError, match=r"__0_0\.distcp is missing"):
        check_shares(content, path, Ranks())


def test_ranks_look_at_each_file_once_and_learn_of_damage_from_one_another(saved, monkeypatch):
    folder, _ = saved
    path, (shares,) = folder.checkpoint_path, folder.shares_paths
    read = []
    monkeypatch.setattr(shares_module, "digest_of", lambda file: read.append(file.name) or digest_of(file))
    content = open_checkpoint(path)
    for rank in range(2):
        check_shares(content, path, Ranks(rank=rank, size=2))
    assert sorted(read) == sorted(file.name for file in shares.iterdir())
    assert len(read) == 2

    class Second(Ranks):
        """The second of two; the first has found its own files whole, or not."""

        def of_first(self, value):
            return value

        def gather(self, value):
            return [(None, of_first), value]

    with folder.writer() as writer:
        for step in range(3):
            writer.append(step, {"entropy": 1.0})
    of_first = None
    assert where_to_go_on(folder, ranks=Second(rank=1, size=2)).iteration == 3
    of_first = DamagedCheckpointError("a share of the first rank is missing")
    with pytest.raises(NothingToGoOnFromError, match="a share of the first rank is missing"):
        where_to_go_on(folder, ranks=Second(rank=1, size=2))


def test_kept_beside_another_file_and_dropped_when_none_names_them(saved, tmp_path):
    folder, expected = saved
    other = RunFolder(tmp_path / "other")
    other.checkpoint_path.parent.mkdir(parents=True)
    content = open_checkpoint(folder.checkpoint_path)
    keep_shares(content, folder.checkpoint_path, other.checkpoint_path)
    write_checkpoint(content, other.checkpoint_path)
    shutil.rmtree(folder.path)
    assert_same(WholeCheckpoints().load_checkpoint(other.checkpoint_path, weights_only=True), expected)

    shutil.copytree(other.shares_paths[0], other.checkpoint_path.parent / "0123.shares")
    drop_unnamed(other)
    assert [path.name for path in other.shares_paths] == [content["shares"]["folder"]]
    other.checkpoint_path.write_bytes(b"torn")
    drop_unnamed(other)
    assert len(other.shares_paths) == 1  # it may be one of this file's
    other.checkpoint_path.unlink()
    drop_unnamed(other)
    assert not other.shares_paths


def test_a_disk_that_takes_no_share_is_an_error_of_the_disk(model, mesh, tmp_path):
    shard(model, mesh, half=False, run=token_values)
    (tmp_path / "file").write_text("where a folder should be")
    with pytest.raises(OSError, match="file"):
        write_shares(content_of(model, trained(model)), tmp_path / "file" / "last.ckpt", Ranks())


def test_shares_of_a_save_that_fails_do_not_stay(saved):
    """The disk fails after the shares are written, at the file that would name them."""
    folder, _ = saved
    (shares,) = folder.shares_paths

    def fail():
        shutil.copytree(shares, shares.with_name("0123.shares"))
        no_space()

    assert not Checkpointer(folder, every=1, num_iterations=9).save(OfTwoRanks(fail))
    assert folder.shares_paths == [shares]


def test_shares_that_a_killed_save_left_are_gone_when_the_run_goes_on(write_campaign, monkeypatch):
    folder = prepare(read_campaign(write_campaign({}))).run("grpo", 0)
    (folder.checkpoint_path.parent / "0123.shares").mkdir(parents=True)
    seen = []
    monkeypatch.setattr(run, "train", lambda folder, *_: seen.append(folder.shares_paths))
    run.main(str(folder.path))
    assert seen == [[]]
