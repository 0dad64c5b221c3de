"""One of several ranks writes: what it could not write, what another finds not finite, and damage, all of them know."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from orchestrator.campaign import prepare
from orchestrator.configuration.resolve import read_campaign
from orchestrator.training import run
from orchestrator.training.going_on import where_to_go_on
from orchestrator.training.launcher import launch

BEST = {"learner.iterations": 1, "evaluation.every": 1, "evaluation.keep_best": "eval/pass_at_1"}
SETTINGS = {
    "learner.iterations": 4,
    "learner.checkpoint_every": 1,
    "learner.devices": 2,
    "evaluation.every": 100,
    "evaluation.num_problems": 2,
}
RANK = """
import errno, os, sys

def main():  # a grader that is spawned imports this file again, and needs none of it
    sys.path.insert(0, sys.argv[3])
    import torch
    from orchestrator.training import checkpoint_files, learner
    from orchestrator.training import run as runs

    what, path = sys.argv[1:3]
    update, write = learner.Learner._update, checkpoint_files.write_checkpoint

    def spoils(self, *args):
        result = update(self, *args)
        if what == "spoil" and self.iteration == 2 and os.environ["RANK"] == "1":
            weight = next(p for p in self.model.parameters() if p.requires_grad and p.numel() > 64)
            own = weight.to_local() if hasattr(weight, "to_local") else weight
            with torch.no_grad():
                own.view(-1)[3] = float("nan")
        return result

    def fails(checkpoint, path):
        write(checkpoint, path)
        if what == "full" and checkpoint["learner"]["iteration"] == 4:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    learner.Learner._update = spoils
    checkpoint_files.write_checkpoint = fails
    return runs.main(path)

if __name__ == "__main__":
    sys.exit(main())
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def folder(request, write_campaign):
    changes = {**SETTINGS, "learner.strategy": request.param}
    campaign = read_campaign(write_campaign(copy.deepcopy(changes)))
    return prepare(campaign).run("held", 0)


@pytest.fixture
def train(tmp_path, monkeypatch):
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")

    def act(folder, what):
        return launch(folder, [str(script), what, str(folder.path), str(Path(run.__file__).parents[2])], 2)

    return act


@pytest.mark.parametrize("folder", ["ddp", "fsdp2"], indirect=True)
def test_all_ranks_end_alike_and_go_on_alike(folder, train):
    assert train(folder, "spoil") == run.EXIT_FAILED
    status = folder.read_status()
    assert status.reason.startswith(
        "TrainingDivergedError: after iteration 2 these are not finite: the weights"
    )
    assert f"--continue-from {folder.path}" in status.reason
    assert where_to_go_on(folder).iteration == 2

    assert train(folder, "full") == run.EXIT_FAILED
    status = folder.read_status()
    assert status.status == "failed"
    assert status.reason.startswith("unsaved: it is trained, and nothing of it after iteration 3 is saved: ")
    assert str(folder.checkpoint_path.parent) in status.reason
    assert not folder.policy_path.exists()

    content = bytearray(folder.checkpoint_path.read_bytes())
    content[len(content) // 2] ^= 4
    folder.checkpoint_path.write_bytes(bytes(content))
    assert train(folder, "nothing") == 0
    status = folder.read_status()
    assert status.status == "done"
    assert status.notes[-1].startswith("went back to previous.ckpt of iteration 2: ")
    assert [record.step for record in folder.records() if record.kind == "train"] == [0, 1, 2, 3]
    assert torch.load(folder.checkpoint_path, weights_only=True)["learner"]["iteration"] == 4
    names = {path.name for path in folder.checkpoint_path.parent.iterdir()}
    shares = {path.name for path in folder.shares_paths}
    assert names - shares == {"last.ckpt", "previous.ckpt"}
    assert len(shares) == (2 if folder.read_info().config["learner"]["strategy"] == "fsdp2" else 0)


def test_a_best_policy_that_finds_no_room_holds_no_rank_up(write_campaign, train):
    settings = copy.deepcopy({**SETTINGS, **BEST, "learner.strategy": "fsdp2"})
    folder = prepare(read_campaign(write_campaign(settings))).run("held", 0)
    folder.best_path.with_name("best.unfinished").touch()  # where the folder would be made
    assert train(folder, "nothing") == 0
    assert folder.read_status().status == "done"
    assert folder.policy_path.exists()
    assert not folder.best_path.exists()
