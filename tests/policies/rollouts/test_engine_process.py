"""An engine in a process of its own samples what one in this process would, from the weights that were pushed."""

from __future__ import annotations

import os
import pickle
import signal
import tempfile

import pytest
import torch

from policies.rollouts.base import Completion, EngineUnavailableError, Sampling
from policies.rollouts.engine_host import Failure, packed
from policies.rollouts.open_engine import open_engine
from policies.rollouts.settings import Transformers

pytestmark = pytest.mark.trains

SAMPLING = Sampling(temperature=1.0, max_tokens=6, seed=3)


@pytest.fixture(scope="module")
def policy(make_policy):
    """With a further token that ends responses, as ``rollout.stop`` gives one."""
    made = make_policy()
    return made.stopping_at([made.tokenizer.convert_ids_to_tokens(5)])


@pytest.fixture(scope="module")
def prompts(policy):
    return [policy.encode(text) for text in ("1+2=", "3", "4+5=")]


@pytest.fixture(scope="module")
def temporary(tmp_path_factory):
    """The folder of temporary files, for the tests of this file."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def engine(policy, temporary, run_folder):
    """Started once for the tests of this file."""
    made = open_engine(Transformers(), policy, max_batch_size=256, scratch=run_folder / "engine", apart=True)
    yield made
    made.close()


def content(groups):
    return [
        [(each.tokens.tolist(), each.logprobs.tolist(), each.finished) for each in group] for group in groups
    ]


def in_this_process(policy, prompts):
    engine = open_engine(Transformers(), policy, max_batch_size=256, scratch=None)
    return engine.generate(prompts, 4, SAMPLING)


def versions(groups):
    return {int(version) for group in groups for each in group for version in each.versions}


def test_it_samples_bit_for_bit_the_same_from_the_weights_of_its_version(engine, policy, prompts):
    before = in_this_process(policy, prompts)
    groups = engine.generate(prompts, 4, SAMPLING)
    assert content(groups) == content(before)
    assert versions(groups) == {0}
    assert any(5 in each.tokens for group in groups for each in group)  # the stop is used, not only known

    head = policy.model.get_output_embeddings().weight
    with torch.no_grad():
        head += 0.5 * torch.randn(head.shape, generator=torch.Generator().manual_seed(0))
    assert content(engine.generate(prompts, 4, SAMPLING)) == content(before)  # a copy, until it is pushed
    engine.push(7)
    groups = engine.generate(prompts, 4, SAMPLING)
    assert content(groups) == content(in_this_process(policy, prompts)) != content(before)
    assert versions(groups) == {7}


def test_weights_are_on_the_disk_of_this_machine_and_only_for_the_time_of_a_push(
    engine, temporary, run_folder, monkeypatch
):
    seen = []

    def look(*_):
        seen.extend(temporary.iterdir())
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_ask", look)
        with pytest.raises(KeyboardInterrupt):
            engine.push(8)
    (during,) = seen
    during.mkdir()  # as a kill at that moment would have left it
    other = during.with_name("entrostat-weights-of-another-run")
    other.mkdir()
    with engine.session():
        assert list(temporary.iterdir()) == [other]
    assert list(run_folder.iterdir()) == []


def test_tensors_of_a_message_are_no_files_of_their_own(monkeypatch):
    monkeypatch.setattr(torch, "save", None)  # by which torch pickles each tensor's storage
    sent = [
        Completion(tokens=torch.tensor([3, 1, n]), logprobs=torch.rand(3), finished=True) for n in range(9)
    ]
    got = pickle.loads(packed(("generate", sent, SAMPLING, torch.empty(0, dtype=torch.int64))))
    assert content([got[1]]) == content([sent])
    assert got[2] == SAMPLING
    assert got[3].dtype == got[1][0].tokens.dtype == torch.int64
    got[1][0].logprobs.mul_(2.0)  # they can be written to, as those of an engine in this process


def test_what_fails_there_is_said_here_and_the_process_goes_on(engine, prompts):
    with pytest.raises(
        RuntimeError, match=r"rollout engine 'transformers': ValueError: a prompt of .* tokens"
    ):
        engine.generate([torch.ones(100, dtype=torch.int64)], 1, SAMPLING)
    assert engine.generate([], 1, SAMPLING) == []
    assert len(engine.generate(prompts, 1, SAMPLING)) == 3


def test_a_full_device_there_is_one_here(engine, prompts, monkeypatch):
    class Full:
        send_bytes = staticmethod(lambda _: None)
        recv_bytes = staticmethod(lambda: pickle.dumps(Failure("no room. ", device_full=True)))

    monkeypatch.setattr(engine, "_connection", Full())
    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        engine.generate(prompts, 1, SAMPLING)


def test_a_process_that_is_gone_is_no_failure_of_the_run(engine, prompts):
    os.kill(engine.process_id, signal.SIGKILL)
    with pytest.raises(EngineUnavailableError, match=r"exit code -9.*give the same command again"):
        engine.generate(prompts, 1, SAMPLING)
