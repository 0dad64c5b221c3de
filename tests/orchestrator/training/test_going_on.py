"""Damaged files cost an interval, what is not finite is never kept, and a run goes on from an earlier point."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from controllers.loop_state import restore
from orchestrator.campaign import prepare
from orchestrator.commands.run import prepare_campaign
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.resolve import read_campaign
from orchestrator.continuing import Earlier
from orchestrator.errors import ConfigError
from orchestrator.storage import files
from orchestrator.storage.run_folder import RunFolder
from orchestrator.storage.samples import sample_files
from orchestrator.training import checkpoint_files, going_on
from orchestrator.training import run as runs
from orchestrator.training.checkpoint_files import DamagedCheckpointError, read_checkpoint, write_checkpoint
from orchestrator.training.going_on import where_to_go_on
from orchestrator.training.learner import Learner

LONG = {"learner.iterations": 6, "learner.checkpoint_every": 2, "evaluation.every": 3}
WAITING = ("bonus", "temperature")
CLOCKS = ("seconds/", "rollout/tokens_per_second")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def fresh(write_campaign):
    def make(name="runs", arm="held", **changes):
        path = write_campaign({**LONG, "tracking.folder": name, **changes})
        return prepare(read_campaign(path)).run(arm, 0)

    return make


@pytest.fixture(scope="module")
def straight_results():
    """What a run that nothing happened to comes to; made once."""
    return {}


def results(folder):
    records = [
        (r.step, r.kind, {k: v for k, v in r.metrics.items() if not k.startswith(CLOCKS)})
        for r in folder.records()
    ]
    return records, load_file(folder.policy_path / "model.safetensors")


def assert_same(one, other):
    assert one[0] == other[0]
    assert one[1].keys() == other[1].keys()
    assert all(torch.equal(one[1][name], other[1][name]) for name in one[1])


@pytest.fixture
def straight(fresh, straight_results):
    if not straight_results:
        folder = fresh("straight")
        assert runs.main(str(folder.path)) == runs.EXIT_DONE
        straight_results["all"] = results(folder)
    return straight_results["all"]


def stopped_in(folder, iteration, monkeypatch):
    """Train in this process until an iteration begins, and end there as a killed process does."""

    def stop(learner, prompts, index, real=Learner.training_step):
        if learner.iteration == iteration:
            raise KilledError
        return real(learner, prompts, index)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "training_step", stop)
        assert runs.main(str(folder.path)) == runs.EXIT_FAILED
    assert "KilledError" in folder.read_status().reason


class KilledError(Exception):
    pass


def flip(path, position, bit=0):
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(bytes(content))


# Damage.


def test_a_flipped_bit_in_the_last_checkpoint_costs_an_interval(fresh, straight, monkeypatch, caplog):
    folder = fresh("flipped")
    stopped_in(folder, 5, monkeypatch)
    assert where_to_go_on(folder).iteration == 4
    flip(folder.checkpoint_path, folder.checkpoint_path.stat().st_size // 2)
    found = where_to_go_on(folder)
    assert (found.path, found.iteration) == (folder.previous_checkpoint_path, 2)
    assert runs.main(str(folder.path)) == runs.EXIT_DONE
    assert_same(results(folder), straight)
    (note,) = folder.read_status().notes
    assert note.startswith(
        f"went back to previous.ckpt of iteration 2: {folder.checkpoint_path}: is not what was"
    )
    assert note in caplog.text


def test_any_flipped_bit_of_a_checkpoint_is_found(fresh, monkeypatch):
    folder = fresh("anywhere")
    stopped_in(folder, 3, monkeypatch)
    path = folder.checkpoint_path
    whole = path.read_bytes()
    assert read_checkpoint(path)["learner"]["iteration"] == 2
    seal = len(whole) - checkpoint_files._SEAL_SIZE
    for position in [*range(0, seal, max(1, seal // 60)), seal - 1, *range(seal + 19, len(whole) - 1, 7)]:
        flip(path, position)
        with pytest.raises(DamagedCheckpointError, match=r"last\.ckpt"):
            read_checkpoint(path)
        path.write_bytes(whole)
    for size in (0, 1, seal // 2, seal - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DamagedCheckpointError, match=r"last\.ckpt"):
            read_checkpoint(path)
    # One of an earlier version has the checksums of its parts.
    path.write_bytes(whole[:seal])
    assert read_checkpoint(path)["learner"]["iteration"] == 2
    weight = read_checkpoint(path)["state_dict"]["model.model.embed_tokens.weight"]
    where = whole.index(weight.numpy().tobytes())
    del weight
    flip(path, where + 5)
    with pytest.raises(DamagedCheckpointError, match="by the checksum of "):
        read_checkpoint(path)


def test_both_damaged_is_said_and_nothing_is_changed(fresh, monkeypatch):
    folder = fresh("both")
    stopped_in(folder, 5, monkeypatch)
    for path in (folder.checkpoint_path, folder.previous_checkpoint_path):
        flip(path, 3000)
    log = folder.metrics_path.read_bytes()
    assert runs.main(str(folder.path)) == runs.EXIT_FAILED
    reason = folder.read_status().reason
    assert "last.ckpt: is not what was written" in reason
    assert "previous.ckpt: is not what was written" in reason
    assert f"with all of {folder.checkpoint_path.parent}, delete it, and the run starts over" in reason
    assert folder.metrics_path.read_bytes() == log
    shutil.rmtree(folder.checkpoint_path.parent)
    assert runs.main(str(folder.path)) == runs.EXIT_DONE


def line_of(lines, step):
    return next(n for n, x in enumerate(lines) if json.loads(x)["step"] == step and '"kind":"train"' in x)


def without(lines, step):
    del lines[line_of(lines, step)]


def twice(lines, step):
    lines.insert(line_of(lines, step), lines[line_of(lines, step)])


def torn(lines, step):
    number = line_of(lines, step)
    lines[number] = lines[number][:40] + "\n"


def other_digit(lines, step):
    number = line_of(lines, step)
    record = json.loads(lines[number])
    record["metrics"]["entropy"] += 1e-9
    lines[number] = json.dumps(record, separators=(",", ":")) + "\n"


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (without, "iteration 2 is missing before line"),
        (twice, "has train step 2 after 2"),
        (torn, "is not a record"),
        (other_digit, "a value or the time of a record has changed"),
    ],
)
def test_a_record_that_is_not_complete_is_made_again(fresh, straight, monkeypatch, harm, said):
    folder = fresh("gap")
    stopped_in(folder, 5, monkeypatch)
    lines = folder.metrics_path.read_text().splitlines(keepends=True)
    harm(lines, 2)  # after checkpoint 2 and before checkpoint 4
    folder.metrics_path.write_text("".join(lines))
    assert runs.main(str(folder.path)) == runs.EXIT_DONE
    assert_same(results(folder), straight)
    (note,) = folder.read_status().notes
    assert "went back to previous.ckpt of iteration 2" in note
    assert said in note


def test_a_record_that_no_checkpoint_fits_is_said(fresh, monkeypatch):
    folder = fresh("early")
    stopped_in(folder, 5, monkeypatch)
    lines = folder.metrics_path.read_text().splitlines(keepends=True)
    without(lines, 1)
    folder.metrics_path.write_text("".join(lines))
    assert runs.main(str(folder.path)) == runs.EXIT_FAILED
    assert "iteration 1 is missing before line" in folder.read_status().reason
    assert runs.main(str(folder.path)) == runs.EXIT_FAILED  # nothing of it is taken for granted later


def test_a_policy_with_a_flipped_bit_is_not_read(fresh):
    from policies.model.loading import load_pretrained

    folder = fresh("read", **{"learner.iterations": 1})
    assert runs.main(str(folder.path)) == runs.EXIT_DONE
    load_pretrained(str(folder.policy_path))
    flip(folder.policy_path / "model.safetensors", -20)
    with pytest.raises(ValueError, match=r"cannot be loaded: model\.safetensors is not what was written"):
        load_pretrained(str(folder.policy_path))


# Full disks and kills.


def test_nothing_is_written_to_the_temporary_folder(fresh, monkeypatch):
    """Graders have empty folders of their own there, which hold what a grader writes and nothing of ours."""

    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", tempfile.gettempdir())

    folder = fresh("temporary")
    for name in ("mkstemp", "NamedTemporaryFile", "TemporaryFile", "TemporaryDirectory"):
        monkeypatch.setattr(tempfile, name, refuse)
    assert runs.main(str(folder.path)) == runs.EXIT_DONE
    assert folder.checkpoint_path.exists()
    assert folder.read_status().notes == []


def test_a_file_that_may_not_grow_any_more_leaves_a_run_unsaved(fresh):
    """The size of a file is limited while the checkpoint is written, so that the system refuses it midway."""
    folder = fresh("limited")
    real = checkpoint_files.write_checkpoint

    def limited(checkpoint, path):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        try:
            real(checkpoint, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint_files, "write_checkpoint", limited)
        assert runs.main(str(folder.path)) == runs.EXIT_FAILED
    status = folder.read_status()
    assert status.status == "failed"
    assert "File too large" in status.reason
    assert str(folder.checkpoint_path.parent) in status.reason
    assert list(folder.checkpoint_path.parent.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a disk")
def test_a_disk_that_is_full(fresh, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=608k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a disk: {mounted.stderr.decode().strip()}")
    try:
        folder = fresh(str(disk))
        assert runs.main(str(folder.path)) == runs.EXIT_FAILED
        status = folder.read_status()
        assert "the disk is full" in status.reason
        assert str(disk) in status.reason
    finally:
        subprocess.run(["umount", disk], check=True)


KILLER = """
import os, signal, sys
from pathlib import Path
from orchestrator.training import checkpoint_files, checkpoints
from orchestrator.training import run as runs

point, path = sys.argv[1:]
saves = []

def die(where):
    if where == point and len(saves) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

write, seal, keep, replace = (
    checkpoint_files.write_checkpoint, checkpoint_files._Stream.write, checkpoint_files.keep, Path.replace
)

def writes(checkpoint, path):
    saves.append(path)
    die("before the write")
    write(checkpoint, path)
    die("before the rename")

def streams(self, data):
    die("in the write") if self._file.tell() > 20000 else None
    return seal(self, data)

def keeps(path, second):
    keep(path, second)
    die("between the two")

def replaces(self, target):
    result = replace(self, target)
    die("after the rename") if Path(target).name == "last.ckpt" else None
    return result

checkpoint_files.write_checkpoint = writes
checkpoint_files._Stream.write = streams
checkpoints.keep = keeps
Path.replace = replaces
sys.exit(runs.main(path))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "iteration"),
    [
        ("before the write", 2),
        ("in the write", 2),
        ("before the rename", 2),
        ("between the two", 2),
        ("after the rename", 4),
    ],
)
def test_killed_in_a_save_a_run_goes_on_from_a_whole_checkpoint(fresh, straight, point, iteration):
    folder = fresh("killed")
    code = subprocess.run(
        [sys.executable, "-c", KILLER, point, str(folder.path)],
        cwd=Path(runs.__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
    ).returncode
    assert code == -signal.SIGKILL
    assert where_to_go_on(folder).iteration == iteration
    assert runs.main(str(folder.path)) == runs.EXIT_DONE
    assert_same(results(folder), straight)
    left = [path.name for path in folder.path.rglob(f"*{files.UNFINISHED}*")]
    assert left == []


# What is not finite.


def spoil(learner, what):
    weight = next(p for p in learner.model.parameters() if p.requires_grad)
    if what == "weights":
        with torch.no_grad():
            weight.view(-1)[3] = float("nan")
    elif what == "optimiser":
        learner.trainer.optimizers[0].state[weight]["exp_avg_sq"].view(-1)[3] = float("inf")
    else:
        state = learner.control._state
        learner.control._state = tuple((*loop[:-3], float("nan"), *loop[-2:]) for loop in state)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("weights", "the weights model."),
        ("optimiser", "exp_avg_sq of the optimiser for model."),
        ("loops", "the state of the loops"),
    ],
)
def test_what_is_not_finite_is_not_saved_and_the_way_on_is_said(fresh, monkeypatch, what, said):
    folder = fresh("spoilt")

    def update(learner, *args, real=Learner._update):
        result = real(learner, *args)
        if learner.iteration == 3:
            spoil(learner, what)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "_update", update)
        assert runs.main(str(folder.path)) == runs.EXIT_FAILED
    status = folder.read_status()
    assert status.status == "failed"
    assert status.reason.startswith(f"TrainingDivergedError: after iteration 3 these are not finite: {said}")
    assert " (1 number); nothing of that is saved" in status.reason
    assert f"--continue-from {folder.path}" in status.reason
    assert "goes on from iteration 2" in status.reason
    assert "\n" not in status.reason
    assert where_to_go_on(folder).iteration == 2
    assert runs.main(str(folder.path)) == runs.EXIT_DONE  # where nothing spoils it again


def go_on_from(folder, path, at=None, **settings):
    info = folder.read_info()
    overrides = [f"{key}={value}" for key, value in {"name": "other", **settings}.items()]
    earlier = Earlier(run=folder, arm=info.arm, seed=info.seed, at=at)
    prepare_campaign(path, overrides, earlier=earlier)
    campaign = read_campaign(path, overrides)
    return RunFolder(
        Path(campaign.config.tracking.folder).resolve() / campaign.config.name / "held" / "seed-0"
    )


def test_a_run_goes_on_from_an_earlier_point_with_other_settings(fresh, straight, monkeypatch, tmp_path):
    folder = fresh("branched")
    stopped_in(folder, 5, monkeypatch)
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    path = tmp_path / "campaign.yaml"

    same = go_on_from(folder, path)
    assert where_to_go_on(same).iteration == 4
    assert list(sample_files(folder.samples_path)) == [0, 1, 2, 3, 4]
    assert list(sample_files(same.samples_path)) == [0, 1, 2, 3]  # of the record that it goes on with
    assert runs.main(str(same.path)) == runs.EXIT_DONE
    assert_same(results(same), straight)  # with nothing changed it is the run that it would have been

    slower = go_on_from(folder, path, at=3, **{"name": "slower", "learner.learning_rate": 1e-5})
    assert where_to_go_on(slower).iteration == 2
    assert runs.main(str(slower.path)) == runs.EXIT_DONE
    rates = [r.metrics["learning_rate"] for r in slower.records() if r.kind == "train"]
    old = [r.metrics["learning_rate"] for r in folder.records() if r.kind == "train"]
    assert rates == [*old[:2], *[1e-5] * 4]
    assert slower.records()[:2] == folder.records()[:2]
    (note,) = slower.read_status().notes
    assert note.startswith(
        f"continued from iteration 2 of {folder.path}: learner.learning_rate: stored 0.001"
    )
    assert go_on_from(folder, path, at=3, **{"name": "slower", "learner.learning_rate": 1e-5}) == slower
    assert slower.read_status().status == "done"  # the same command leaves it as it is

    other = go_on_from(folder, path, **{"name": "gains", "arms.1.loops.entropy.reference.value_nats": 0.3})
    states = read_checkpoint(other.checkpoint_path)["callbacks"]["EntropyControl"]
    assert states["commands"] == {}
    assert states["loops"] != read_checkpoint(folder.checkpoint_path)["callbacks"]["EntropyControl"]["loops"]
    assert {path: path.read_bytes() for path in before} == before


def test_a_loop_whose_commands_wait_for_another_time_begins_afresh(fresh, monkeypatch, tmp_path):
    """A law may hold as many commands as wait; the temperature's wait is the same."""
    law = {"kind": "pid", "kp": 0.5, "ki": 0.1}
    setpoint = {"kind": "constant", "value_nats": 0.4}
    loops = {kind: {"law": law, "reference": setpoint, "actuator": {"kind": kind}} for kind in WAITING}
    folder = fresh("waiting", arms=[{"name": "held", "loops": loops}])
    stopped_in(folder, 3, monkeypatch)
    later = go_on_from(folder, tmp_path / "campaign.yaml", **{"learner.measure": "in_update"})
    old, new = (
        dict(zip(WAITING, read_checkpoint(each.checkpoint_path)["callbacks"]["EntropyControl"]["loops"]))
        for each in (folder, later)
    )
    assert new["bonus"] == restore(RunConfig(**later.read_info().config).loops["bonus"].build().init())
    assert new["bonus"] != old["bonus"]
    assert new["temperature"] == old["temperature"]


def test_a_run_of_before_a_setting_came_goes_on_as_it_was(fresh, monkeypatch, tmp_path):
    folder = fresh("older")
    stopped_in(folder, 3, monkeypatch)
    info = folder.read_info()
    config = json.loads(json.dumps(info.config))
    del config["policy"]["attention"], config["task"]["misconception"], config["learner"]["betas"]
    del config["loops"]["entropy"]["filter"]
    folder.write_info(replace(info, config=config))
    other = go_on_from(folder, tmp_path / "campaign.yaml")
    assert other.read_status().notes == [f"continued from iteration 2 of {folder.path}: no setting changed"]
    old, new = (read_checkpoint(each.checkpoint_path)["callbacks"] for each in (folder, other))
    assert new["EntropyControl"] == old["EntropyControl"]  # no loop begins afresh

    folder.write_info(replace(info, config=config | {"gone": 3}))
    with pytest.raises(ConfigError, match=r"this version cannot read its configuration \(gone: stored 3"):
        go_on_from(folder, tmp_path / "campaign.yaml", name="third")


def test_a_run_that_is_done_goes_on_to_more_iterations(fresh, straight, tmp_path):
    folder = fresh("shorter", **{"learner.iterations": 3})
    assert runs.main(str(folder.path)) == runs.EXIT_DONE
    longer = go_on_from(folder, tmp_path / "campaign.yaml", **{"learner.iterations": 6})
    assert runs.main(str(longer.path)) == runs.EXIT_DONE
    assert_same(results(longer), straight)


def test_a_run_whose_training_ends_early_is_not_done(fresh, monkeypatch):
    folder = fresh("early")
    stopped_in(folder, 5, monkeypatch)
    checkpoint = read_checkpoint(folder.checkpoint_path)
    checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"] = True
    changed = folder.checkpoint_path.with_suffix(".changed")  # what was read is mapped from the file
    write_checkpoint(checkpoint, changed)
    changed.replace(folder.checkpoint_path)
    assert runs.main(str(folder.path)) == runs.EXIT_FAILED
    status = folder.read_status()
    assert (status.status, status.iteration, status.num_iterations) == ("failed", 4, 6)
    assert "training ended after 4 of 6 iterations" in status.reason


@pytest.mark.parametrize(
    ("at", "settings", "said"),
    [
        (None, {"name": "small"}, "add --set name=NEW"),
        (1, {}, r"no checkpoint can be used that has at most 1 iterations: .* is of iteration 4, after 1"),
        (None, {"learner.iterations": 4}, "learner.iterations must be above the 4 that are done, got 4"),
        (None, {"task.num_digits": 2}, "policy and task have to stay as they are, got task.num_digits"),
    ],
)
def test_going_on_is_refused_with_a_reason(fresh, monkeypatch, tmp_path, at, settings, said):
    folder = fresh("refused")
    stopped_in(folder, 5, monkeypatch)
    with pytest.raises(ConfigError, match=said):
        go_on_from(folder, tmp_path / "campaign.yaml", at=at, **settings)


def test_prompts_in_flight_are_not_left_behind(fresh, monkeypatch, tmp_path):
    folder = fresh("flying")
    stopped_in(folder, 5, monkeypatch)
    info = folder.read_info()
    info.config["rollout"]["in_flight"] = {"prompts": 5, "round_tokens": 4, "unfinished": "go_on"}
    folder.write_info(info)
    with pytest.raises(ConfigError, match=r"prompts are in flight there, .*; keep rollout\.in_flight"):
        go_on_from(folder, tmp_path / "campaign.yaml")


def test_without_a_checkpoint_the_way_on_is_to_begin_again(fresh):
    assert "begin again with other settings" in going_on.how_to_go_on(fresh("never"))
