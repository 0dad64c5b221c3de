"""Iterations that are profiled leave a trace each, and change no record."""

from __future__ import annotations

import json

import pytest
import torch

from orchestrator.campaign import prepare
from orchestrator.configuration.resolve import read_campaign
from orchestrator.storage.run_folder import read_json
from orchestrator.training import run as worker

pytestmark = pytest.mark.trains

CLOCKS = ("seconds/", "rollout/tokens_per_second")
SHORT = {"learner.iterations": 3, "evaluation.every": 3, "learner.checkpoint_every": 1}


def rows(run):
    return [
        (record.step, {k: v for k, v in record.metrics.items() if not k.startswith(CLOCKS)})
        for record in run.records()
    ]


def train(write_campaign, name, **changes):
    torch.set_num_threads(1)
    run = prepare(read_campaign(write_campaign(SHORT | {"tracking.folder": name} | changes))).run("grpo", 0)
    assert worker.main(str(run.path)) == worker.EXIT_DONE, run.read_status().reason
    return run


def test_a_trace_of_each_iteration_that_was_asked_for(write_campaign):
    plain = train(write_campaign, "plain")
    profiled = train(write_campaign, "profiled", **{"execution.profile_iterations": [0, 2, 7]})
    assert not plain.profile_path.exists()
    assert {path.name for path in profiled.profile_path.iterdir()} == {"iteration_0.json", "iteration_2.json"}
    events = json.loads((profiled.profile_path / "iteration_2.json").read_text())["traceEvents"]
    assert any(event["name"] == "aten::mm" for event in events)
    assert rows(profiled) == rows(plain)
    stored = [read_json(run.path / "run.json")["fingerprint"] for run in (plain, profiled)]
    assert stored[0] == stored[1]
