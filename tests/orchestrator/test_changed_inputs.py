"""Files that have changed since a stored run read them: refused with what differs, or taken by a word."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from orchestrator.campaign import prepare
from orchestrator.cli import app
from orchestrator.comparison.inputs import different_inputs
from orchestrator.configuration.inputs import inputs_of
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError
from orchestrator.training.run import EXIT_FAILED
from orchestrator.training.run import main as work
from tasks.kinds import math_word

ACCEPT = "--accept-changed-inputs"


def rows(offset=0):
    return [{"prompt": f"{n}+1=", "question": f"{n}+1=", "answer": str(n + 1 + offset)} for n in range(40)]


def write_jsonl(path, offset=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows(offset)))


def write_parquet(path, offset=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows(offset)), path)


def write_model(folder):
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer_config.json"):
        (folder / name).write_text("{}")


JSONL = {"kind": "jsonl", "path": "data.jsonl"}
SUMS = {"kind": "arithmetic", "num_digits": 1}


def file(tmp_path):
    write_jsonl(tmp_path / "data.jsonl")
    changes = {"task": JSONL, "evaluation.num_problems": 3}
    return changes, lambda: write_jsonl(tmp_path / "data.jsonl", 1), "task.path: data.jsonl"


def held_out(tmp_path):
    write_jsonl(tmp_path / "data.jsonl")
    write_jsonl(tmp_path / "held_out.jsonl")
    task = {**JSONL, "held_out_path": "held_out.jsonl"}
    return (
        {"task": task},
        lambda: write_jsonl(tmp_path / "held_out.jsonl", 1),
        "task.held_out_path: held_out.jsonl",
    )


def parquet(tmp_path):
    write_parquet(tmp_path / "data.parquet")
    task = {"kind": "math_word", "path": "data.parquet"}
    return {"task": task}, lambda: write_parquet(tmp_path / "data.parquet", 1), "task.path: data.parquet"


def folder_of_data(tmp_path):
    write_parquet(tmp_path / "data" / "train-0.parquet")
    task = {"kind": "math_word", "dataset": "data"}
    return (
        {"task": task},
        lambda: write_parquet(tmp_path / "data" / "train-1.parquet"),
        "data/train-1.parquet",
    )


def member(tmp_path):
    write_jsonl(tmp_path / "data.jsonl")
    task = {"kind": "mixture", "tasks": [{"task": JSONL}, {"task": SUMS}]}
    return (
        {"task": task},
        lambda: write_jsonl(tmp_path / "data.jsonl", 1),
        "task.tasks.0.task.path: data.jsonl",
    )


def phase(tmp_path):
    write_jsonl(tmp_path / "data.jsonl")
    write_jsonl(tmp_path / "later.jsonl")
    phases = [{"start": 3, "task": {"path": "later.jsonl"}}]
    changes = {"task": JSONL, "phases": phases}
    return changes, lambda: write_jsonl(tmp_path / "later.jsonl", 1), "phases.0.task.path: later.jsonl"


def model(tmp_path):
    write_model(tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    return {"policy": {"source": "./model"}}, lambda: weights.write_text("[]"), "model/model.safetensors"


def chat_template(tmp_path):
    write_model(tmp_path / "model")
    template = tmp_path / "model" / "chat_template.jinja"
    template.write_text("{{ messages }}")
    changes = {"policy": {"source": "./model", "chat": {"system": None}}}
    return changes, lambda: template.write_text("{{ messages[0] }}"), "model/chat_template.jinja"


def base_of_adapters(tmp_path):
    write_model(tmp_path / "base")
    (tmp_path / "adapters").mkdir()
    config = {"base_model_name_or_path": str(tmp_path / "base")}
    (tmp_path / "adapters" / "adapter_config.json").write_text(json.dumps(config))
    weights = tmp_path / "base" / "model.safetensors"
    return {"policy": {"source": "./adapters"}}, lambda: weights.write_text("[]"), "policy.source (base): "


def gguf(tmp_path):
    (tmp_path / "model.gguf").write_text("a")
    changes = {"policy": {"source": "model.gguf"}}
    return changes, lambda: (tmp_path / "model.gguf").write_text("b"), "policy.source: model.gguf"


def package(tmp_path):
    path = tmp_path / "site" / "carries_a_model" / "model.gguf"
    path.parent.mkdir(parents=True)
    path.write_text("a")
    (path.parent / "__init__.py").touch()
    sys.path.insert(0, str(tmp_path / "site"))
    changes = {"policy": {"source": "package:carries_a_model"}}
    return changes, lambda: path.write_text("b"), "carries_a_model/model.gguf"


KINDS = [
    file, held_out, parquet, folder_of_data, member, phase, model, chat_template, base_of_adapters, gguf, package,
]  # fmt: skip


@pytest.fixture
def stored(write_campaign, tmp_path, monkeypatch):
    """A campaign that reads something and is stored; gives how to read it again, and how to change what it reads."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def make(kind, **more):
        changes, change, label = kind(tmp_path)
        path = write_campaign({"arms": [{"name": "grpo"}], **changes, **more})
        folder = prepare(read_campaign(path))
        return path, folder, change, label

    return make


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_change_is_refused_or_taken_by_a_word_which_is_recorded(stored, kind):
    path, folder, change, label = stored(kind)
    run = folder.run("grpo", 0)
    before = run.read_info()
    prepare(read_campaign(path))  # nothing has changed
    assert run.read_info() == before
    change()
    with pytest.raises(ConfigError, match=ACCEPT) as refusal:
        prepare(read_campaign(path))
    message = str(refusal.value)
    assert label in message
    assert "\n" not in message
    assert run.read_info() == before

    began = time.time()
    prepare(read_campaign(path), accept=True)
    after = run.read_info()
    (entry,) = after.accepted
    assert label in entry["input"]
    assert entry["old"] == before.inputs.get(entry["input"])
    assert entry["new"]["digest"] != (entry["old"] or {}).get("digest")
    assert (entry["iteration"], began <= entry["when"] <= time.time()) == (0, True)
    assert (after.inputs, after.fingerprint) == (before.inputs, before.fingerprint)
    prepare(read_campaign(path))  # taken once and for all
    assert run.read_info() == after


def test_a_touched_file_is_the_same(stored, tmp_path):
    path, folder, _, _ = stored(file)
    before = folder.run("grpo", 0).read_info()
    write_jsonl(tmp_path / "data.jsonl")
    prepare(read_campaign(path))
    assert folder.run("grpo", 0).read_info().accepted == []
    assert folder.run("grpo", 0).read_info().fingerprint == before.fingerprint


def test_the_message_says_what_was_and_what_is(stored, tmp_path):
    path, folder, _, label = stored(file)
    old = folder.run("grpo", 0).read_info().inputs[label]
    write_jsonl(tmp_path / "data.jsonl", 1000)
    new = inputs_of(read_campaign(path).arms[0].config)[label]
    with pytest.raises(ConfigError) as refusal:
        prepare(read_campaign(path))
    for state in (old, new):
        assert state["digest"].removeprefix("sha256:")[:12] in str(refusal.value)
        assert f"({state['bytes']} bytes, of " in str(refusal.value)


def test_new_arms_and_seeds_do_not_join_runs_that_read_something_else(stored, write_campaign):
    path, folder, change, _ = stored(file)
    change()
    write_campaign({"seeds": [0, 1]})
    with pytest.raises(ConfigError, match="grpo/seed-0"):
        prepare(read_campaign(path))
    write_campaign({"seeds": [1], "arms": [{"name": "new"}]})  # the old arm is not even named any more
    with pytest.raises(ConfigError, match="grpo/seed-0"):
        prepare(read_campaign(path))
    assert [run.path.name for run in folder.runs()] == ["seed-0"]
    prepare(read_campaign(path), accept=True)
    assert folder.run("new", 1).read_info().accepted == []


def test_an_arm_that_reads_something_else_by_its_settings_joins(stored, write_campaign, tmp_path):
    path, _, _, _ = stored(file)
    write_jsonl(tmp_path / "other.jsonl", 5)
    write_campaign({"arms": [{"name": "other", "task": {"path": "other.jsonl"}}]})
    folder = prepare(read_campaign(path))
    assert len(folder.runs()) == 2


def test_a_preset_that_has_changed_is_refused_by_what_it_says(write_campaign, tmp_path):
    preset = tmp_path / "mine.yaml"
    preset.write_text("method: mine\nsummary: s\nsource: s\nlearner: {max_grad_norm: 1.0}\n")
    path = write_campaign({"arms": [{"name": "a", "method": "mine.yaml"}]})
    prepare(read_campaign(path))
    preset.write_text("method: mine\nsummary: t\nsource: s\nlearner: {max_grad_norm: 1.0}\n")
    prepare(read_campaign(path))  # says the same
    preset.write_text("method: mine\nsummary: s\nsource: s\nlearner: {max_grad_norm: 2.0}\n")
    with pytest.raises(ConfigError, match=r"learner.max_grad_norm: stored 1.0, now 2.0"):
        prepare(read_campaign(path), accept=True)


def test_a_data_set_of_a_hub_is_what_comes_of_it(write_campaign, monkeypatch):
    from datasets import Dataset

    content = rows()
    monkeypatch.setattr("tasks.data.rows._load", lambda *_: Dataset.from_list(content))
    path = write_campaign({"task": {"kind": "math_word", "dataset": "some/set"}, "arms": [{"name": "grpo"}]})
    folder = prepare(read_campaign(path))
    math_word._sides.cache_clear()
    prepare(read_campaign(path))
    content[3]["answer"] = "77"
    math_word._sides.cache_clear()
    with pytest.raises(ConfigError, match=r"task\.dataset: some/set was sha256"):
        prepare(read_campaign(path))
    math_word._sides.cache_clear()
    assert folder.run("grpo", 0).read_info().accepted == []


def test_a_model_of_a_hub_is_the_commit_that_it_is_at(write_campaign, monkeypatch):
    commits = iter(["", "commit:aaa", "commit:aaa", "commit:bbb"])
    monkeypatch.setattr("policies.model.sources.hub_commit", lambda _: next(commits))
    path = write_campaign({"policy": {"source": "some/model"}, "arms": [{"name": "grpo"}]})
    for _ in range(3):  # at first neither hub nor cache knew
        prepare(read_campaign(path))
    with pytest.raises(ConfigError, match=r"policy\.source: some/model was commit aaa, is commit bbb"):
        prepare(read_campaign(path))


def test_a_hub_that_cannot_be_asked_is_read_from_its_cache(tmp_path, monkeypatch):
    from huggingface_hub import HfApi, constants

    from policies.model.sources import hub_commit

    def offline(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr(HfApi, "model_info", offline)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert hub_commit("some/model") == ""
    reference = tmp_path / "models--some--model" / "refs" / "main"
    reference.parent.mkdir(parents=True)
    reference.write_text("abc\n")
    assert hub_commit("some/model") == "commit:abc"


# Runs of an earlier version --------------------------------------------------------------------------


def test_a_run_without_a_record_of_its_inputs_goes_on_and_that_is_said(stored):
    path, folder, change, label = stored(file)
    run = folder.run("grpo", 0)
    settings = read_campaign(path).arms[0].fingerprint
    run.write_info(replace(run.read_info(), inputs=None, fingerprint=settings))
    change()
    told = []
    prepare(read_campaign(path), tell=told.append)
    assert len(told) == 1
    assert "not recorded" in told[0]
    (entry,) = run.read_info().accepted  # from now on
    assert (entry["input"], entry["old"]) == (label, None)
    prepare(read_campaign(path), tell=told.append)
    assert len(told) == 1


def test_one_that_is_over_is_not_said_to_have_read_what_is_there_now(stored):
    path, folder, _, _ = stored(file)
    run = folder.run("grpo", 0)
    settings = read_campaign(path).arms[0].fingerprint
    run.write_info(replace(run.read_info(), inputs=None, fingerprint=settings))
    run.write_status(replace(run.read_status(), status="done"))
    told = []
    prepare(read_campaign(path), tell=told.append)
    assert "not recorded" in told[0]
    assert (run.read_info().inputs, run.read_info().accepted) == (None, [])


def test_a_run_that_reads_nothing_has_nothing_to_say(write_campaign):
    path = write_campaign()
    folder = prepare(read_campaign(path))
    run = folder.run("grpo", 0)
    assert run.read_info().inputs == {}
    assert run.read_info().fingerprint == read_campaign(path).arms[0].fingerprint
    run.write_info(replace(run.read_info(), inputs=None))
    told = []
    prepare(read_campaign(path), tell=told.append)
    assert told == []


# Commands --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["prepare", "run"])
def test_commands_refuse_in_one_line_with_status_2(stored, command):
    path, _, change, label = stored(file)
    change()
    result = CliRunner().invoke(app, [command, str(path)])
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: name: 'small' has stored the run grpo/seed-0")
    assert label in line


def test_prepare_takes_the_word(stored):
    path, folder, change, _ = stored(file)
    change()
    assert CliRunner().invoke(app, ["prepare", str(path), ACCEPT]).exit_code == 0
    assert len(folder.run("grpo", 0).read_info().accepted) == 1


def test_a_worker_refuses_what_has_changed_since_its_run_was_written_down(stored):
    _, folder, change, label = stored(file)
    change()
    run = folder.run("grpo", 0)
    assert work(str(run.path)) == EXIT_FAILED
    reason = run.read_status().reason
    assert reason.startswith(f"InputsChangedError: {label} was sha256")


def test_what_is_compared_is_said_to_have_read_different_things(stored, write_campaign):
    path, folder, change, label = stored(file)
    change()
    prepare(read_campaign(path), accept=True)
    write_campaign({"arms": [{"name": "grpo"}, {"name": "new"}]})
    prepare(read_campaign(path))
    first, second = different_inputs([run.read_info() for run in folder.runs()])
    assert first.startswith(f"grpo seed-0: from iteration 0 {label} was sha256")
    assert second.startswith(f"{label} is not the same for all: ")
    assert second.count("small/grpo") == second.count("small/new") == 1
