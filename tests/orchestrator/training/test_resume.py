"""A run that was killed and continued equals one that was not, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from orchestrator.campaign import prepare
from orchestrator.configuration.resolve import read_campaign
from orchestrator.storage.metrics_log import MetricsWriter
from orchestrator.storage.run_folder import RunFolder
from orchestrator.storage.samples import sample_files, write_samples
from orchestrator.storage.stored_columns import stored_columns
from orchestrator.training import run as worker

pytestmark = pytest.mark.trains

CLOCKS = ("seconds/", "rollout/tokens_per_second")
LONG = {"learner.iterations": 14, "learner.checkpoint_every": 3, "evaluation.every": 5}


@pytest.fixture
def fresh_run(write_campaign, tmp_path):
    """Make the folder of the controlled arm, in a runs folder of the given name."""

    def make(name: str) -> RunFolder:
        path = write_campaign({**LONG, "tracking.folder": name})
        return prepare(read_campaign(path)).run("held", 0)

    return make


def in_own_process(folder: RunFolder) -> subprocess.Popen[bytes]:
    with folder.log_path.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator.training.worker", str(folder.path)],
            cwd=Path(worker.__file__).parents[2],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def wait_for_iteration(folder: RunFolder, process: subprocess.Popen[bytes], iteration: int) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, folder.log_path.read_text()
        if any(record.kind == "train" and record.step >= iteration for record in folder.records()):
            return
        time.sleep(0.005)
    raise AssertionError("the run did not get that far")


def results(folder: RunFolder) -> list[tuple[int, str, dict[str, float]]]:
    """Everything measured but for the clocks."""
    return [
        (record.step, record.kind, {k: v for k, v in record.metrics.items() if not k.startswith(CLOCKS)})
        for record in folder.records()
    ]


def crash(folder: RunFolder, monkeypatch: pytest.MonkeyPatch, iteration: int = 3) -> None:
    """Train up to the end of that iteration, which is not recorded."""
    append = MetricsWriter.append

    def failing(self, step, metrics, kind="train"):
        if (step, kind) == (iteration, "train"):
            raise RuntimeError("pulled the plug")
        append(self, step, metrics, kind)

    with monkeypatch.context() as patch:
        patch.setattr(MetricsWriter, "append", failing)
        assert worker.main(str(folder.path)) == worker.EXIT_FAILED


def weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    return load_file(folder.policy_path / "model.safetensors")


def samples(folder: RunFolder) -> dict[int, bytes]:
    return {iteration: path.read_bytes() for iteration, path in sample_files(folder.samples_path).items()}


def assert_same(one: RunFolder, other: RunFolder) -> None:
    assert results(one) == results(other)
    assert samples(one)
    assert samples(one) == samples(other)
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def threads():
    torch.set_num_threads(1)


def test_killed_and_stopped_runs_continue_bit_for_bit(fresh_run, threads):
    straight = fresh_run("straight")
    assert worker.main(str(straight.path)) == worker.EXIT_DONE
    steps = [record.step for record in straight.records() if record.kind == "train"]
    assert steps == list(range(14))
    assert [record.step for record in straight.records() if record.kind == "eval"] == [0, 5, 10, 14]
    assert list(samples(straight)) == [0, 2, 4, 6, 8, 10, 12, 13]

    killed = fresh_run("killed")
    process = in_own_process(killed)
    wait_for_iteration(killed, process, 4)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert killed.read_status().status == "running"  # it had no time to say anything else
    assert stored_columns(killed.metrics_path) is None
    assert worker.main(str(killed.path)) == worker.EXIT_DONE
    assert stored_columns(killed.metrics_path).train.steps.tolist() == steps
    assert_same(straight, killed)

    stopped = fresh_run("stopped")
    process = in_own_process(stopped)
    wait_for_iteration(stopped, process, 4)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == worker.EXIT_INTERRUPTED, stopped.log_path.read_text()
    assert stopped.read_status().status == "interrupted"
    done = [record.step for record in stopped.records() if record.kind == "train"]
    saved = torch.load(stopped.checkpoint_path, weights_only=True)["learner"]["iteration"]
    assert saved == done[-1] + 1  # nothing that was measured has to be repeated
    assert worker.main(str(stopped.path)) == worker.EXIT_DONE
    assert_same(straight, stopped)


def test_killed_before_the_first_checkpoint_starts_over(fresh_run, threads):
    straight, killed = fresh_run("straight"), fresh_run("killed")
    assert worker.main(str(straight.path)) == worker.EXIT_DONE
    killed.path.mkdir(parents=True, exist_ok=True)
    with killed.writer() as writer:  # an evaluation and an iteration that no checkpoint knows of
        writer.append(0, {"eval/pass_at_1": 0.5}, kind="eval")
        writer.append(0, {"entropy": 1.0})
    with killed.metrics_path.open("ab") as file:
        file.write(b'{"step":1,"kind":"tr')  # torn by the kill
    write_samples(killed.samples_path, 1, [])  # of an iteration that has samples no more
    assert worker.main(str(killed.path)) == worker.EXIT_DONE
    assert_same(straight, killed)


def test_checkpoint_is_plain_numbers_and_tensors(fresh_run, threads):
    folder = fresh_run("straight")
    worker.main(str(folder.path))
    checkpoint = torch.load(folder.checkpoint_path, weights_only=True)  # refuses anything else
    state = checkpoint["callbacks"]["EntropyControl"]
    assert json.loads(json.dumps(state["commands"])) == state["commands"]
