"""Samples of a run: what they hold, that nothing else changes by them, and what a full disk costs."""

from __future__ import annotations

import errno
import re

import pytest
import torch

from orchestrator.campaign import prepare
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError
from orchestrator.storage.run_folder import RunFolder
from orchestrator.storage.samples import read_samples, sample_files
from orchestrator.training import run as worker
from orchestrator.training import samples as keeping
from policies.model.tiny import character_tokenizer
from tests.orchestrator.training.test_episodes import SHORT
from tests.orchestrator.training.test_resume import results, weights

pytestmark = pytest.mark.trains


@pytest.fixture
def train(write_campaign):
    """Train an arm of the small campaign with some settings, in a runs folder of the given name."""

    def trained(name: str, arm: str = "grpo", **changes: object) -> RunFolder:
        torch.set_num_threads(1)
        path = write_campaign({"tracking.folder": name} | changes)
        run = prepare(read_campaign(path)).run(arm, 0)
        assert worker.main(str(run.path)) == worker.EXIT_DONE, run.read_status().reason
        return run

    return trained


def samples(run: RunFolder):
    return {iteration: read_samples(path) for iteration, path in sample_files(run.samples_path).items()}


def test_samples_are_the_first_responses_with_what_was_measured_of_them(train):
    every = train("every", **{"tracking.samples": 16, "tracking.samples_every": 4})
    found = samples(every)
    assert list(found) == [0, 4, 5]  # every fourth, and the last of six
    records = {record.step: record.metrics for record in every.records() if record.kind == "train"}
    for iteration, kept in found.items():
        assert [each.number for each in kept] == list(range(16))  # all of four prompts, four times each
        rewards = [each.reward for each in kept]
        assert sum(rewards) / 16 == pytest.approx(records[iteration]["reward"])
        assert [each.right for each in kept] == [reward >= 1 for reward in rewards]
        assert sum(each.length for each in kept) / 16 == records[iteration]["rollout/length"]
        entropies = [value for each in kept for value in each.entropies]
        assert sum(entropies) / len(entropies) == pytest.approx(records[iteration]["entropy"], rel=1e-5)
        for each in kept:
            assert len(each.tokens) == len(each.entropies) == each.length
            assert re.sub(r"<\w+>", "", "".join(each.tokens)) == each.turns[0]  # special tokens are tokens
            assert each.finished == (each.tokens[-1] == "<eos>")
            assert each.right <= (each.answer in each.turns[0])


def test_fewer_samples_are_of_different_prompts_and_come_in_the_order_of_the_batch(train):
    found = samples(train("six", **{"tracking.samples": 6, "tracking.samples_every": 5}))
    assert [each.number for each in found[5]] == [0, 1, 4, 5, 8, 12]  # four prompts, and two of them twice


def test_nothing_that_is_measured_changes_by_samples_and_off_leaves_nothing(train):
    on = train("on", arm="held", **{"tracking.samples": 3})
    off = train("off", arm="held", **{"tracking.samples": 0})
    assert not off.samples_path.exists()
    assert list(samples(on)) == [0, 1, 2, 3, 4, 5]  # a tenth of six iterations is every one
    assert results(on) == results(off)
    assert all(torch.equal(weight, weights(off)[name]) for name, weight in weights(on).items())


def test_without_entropies_no_tokens_are_kept(train):
    (kept, *_) = samples(train("texts", **{"tracking.samples_entropies": False}))[0]
    assert (kept.tokens, kept.token_turns, kept.entropies, kept.mean_entropy) == ([], [], [], None)
    assert kept.turns[0]


def test_a_full_disk_costs_the_samples_alone_and_is_said_once(train, monkeypatch, caplog):
    def full(*_):
        raise OSError(errno.ENOSPC, "the disk is full")

    monkeypatch.setattr(keeping, "write_samples", full)
    run = train("full")
    assert run.checkpoint_path.exists()
    said = [record.getMessage() for record in caplog.records if "samples are not kept" in record.getMessage()]
    assert len(said) == 1
    assert "the disk is full" in said[0]


def test_an_episode_is_kept_with_its_turns_and_the_replies_between(train):
    run = train("episodes", **SHORT, **{"tracking.samples": 16})
    kept = [each for of_iteration in samples(run).values() for each in of_iteration]
    several = [each for each in kept if len(each.turns) > 1]
    assert several
    for each in kept:
        own = [entropy is not None for entropy in each.entropies]
        assert own == [turn > 0 for turn in each.token_turns]
        assert sum(own) == each.length
        assert (len(each.turns) + 1) // 2 == max(each.token_turns)
    for each in several:
        reply = "".join(text for text, turn in zip(each.tokens, each.token_turns, strict=True) if not turn)
        assert reply.startswith(each.turns[1])


@pytest.mark.parametrize(("key", "value"), [("samples", -1), ("samples", 1001), ("samples_every", 0)])
def test_how_many_is_checked(write_campaign, key, value):
    with pytest.raises(ConfigError, match=rf"tracking\.{key}: "):
        read_campaign(write_campaign({f"tracking.{key}": value}))


def test_pieces_of_a_policy_join_to_its_text():
    from types import SimpleNamespace

    from policies.model.loading import LoadedPolicy

    tokenizer = character_tokenizer("0123456789+ ", 10)
    ids = torch.tensor([*tokenizer("1 + 20")["input_ids"], tokenizer.eos_token_id])
    assert LoadedPolicy.pieces(SimpleNamespace(tokenizer=tokenizer), ids) == [*"1 + 20", "<eos>"]
