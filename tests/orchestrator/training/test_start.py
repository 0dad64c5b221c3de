"""Entropy-aware initialisation in a campaign: at the floor from iteration 0, and the same after a crash."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from typer.testing import CliRunner

from orchestrator.campaign import prepare
from orchestrator.cli import app
from orchestrator.commands.clear_errors import EXIT_BAD_INPUT
from orchestrator.configuration.resolve import read_campaign
from orchestrator.storage.run_folder import RunFolder
from orchestrator.training import run as worker
from orchestrator.training import start
from tests.orchestrator.training.test_resume import crash

pytestmark = pytest.mark.trains

WARM_START = {"num_steps": 120, "batch_size": 32}
FLOOR = 2.3  # far above the 1.7 nats or so that such a policy has, and below the ln 18 = 2.9 that there are


@pytest.fixture
def make_run(write_campaign):
    """Make the folder of the plain arm, with an initialisation and other changes."""

    def make(initialisation: dict, changes: dict | None = None) -> RunFolder:
        start = {"policy.warm_start": dict(WARM_START), "policy.initialisation": initialisation}
        path = write_campaign(start | (changes or {}))
        return prepare(read_campaign(path)).run("grpo", 0)

    return make


def train(folder: RunFolder) -> dict[str, float]:
    """The first training record of a finished run."""
    assert worker.main(str(folder.path)) == worker.EXIT_DONE, folder.read_status().reason
    return dict(next(record.metrics for record in folder.records() if record.kind == "train"))


def test_without_a_floor_nothing_is_measured_or_written(make_run):
    folder = make_run({"action": "recalibrate"})
    assert train(folder)["rollout/temperature"] == 1.0
    assert not folder.start_path.exists()


def test_recalibrated_run_starts_at_its_floor(make_run, caplog):
    folder = make_run({"floor_nats": FLOOR, "action": "recalibrate", "max_attempts": 6})
    with caplog.at_level(logging.INFO, logger="orchestrator.training.start"):
        first = train(folder)
    decided = json.loads(folder.start_path.read_text())
    assert decided["temperature"] > 1.0
    assert first["rollout/temperature"] == decided["temperature"]
    assert first["entropy"] == pytest.approx(decided["entropy_nats"], rel=1e-9)
    assert first["entropy"] >= FLOOR
    assert f"sampling temperature raised from 1 to {decided['temperature']:g}" in caplog.text


def test_what_is_measured_is_the_task_of_the_first_phase(make_run):
    """The run's own task is the union of its phases, and has other entropy."""
    changes = {
        "task": {"kind": "arithmetic", "num_digits": [1, 2]},
        "phases": [{"start": 0, "task": {"num_digits": 2}}],
        "rollout.max_tokens": 12,
    }
    folder = make_run({"floor_nats": 0.1, "action": "accept"}, changes)
    first = train(folder)
    assert "entropy/domain/add1" not in first
    assert first["entropy"] == pytest.approx(
        json.loads(folder.start_path.read_text())["entropy_nats"], rel=1e-9
    )


def test_what_is_measured_of_a_task_that_answers_back_is_its_whole_episodes(make_run):
    changes = {
        "task": {"kind": "calculator", "num_operations": 1, "num_digits": 1},
        "rollout.max_tokens": 6,
        "rollout.episode": {"max_turns": 3},
    }
    folder = make_run({"floor_nats": 0.1, "action": "accept"}, changes)
    first = train(folder)
    assert first["rollout/turns"] > 1
    assert first["entropy"] != first["entropy/turn/1"]
    assert first["entropy"] == pytest.approx(
        json.loads(folder.start_path.read_text())["entropy_nats"], rel=1e-9
    )


def test_accept_warns_and_changes_nothing(make_run, caplog):
    plain = train(make_run({}, {"tracking.folder": "plain"}))
    folder = make_run({"floor_nats": FLOOR}, {"tracking.folder": "accepted"})
    with caplog.at_level(logging.WARNING, logger="orchestrator.training.start"):
        first = train(folder)
    assert "accepted below the floor" in caplog.text
    assert {k: v for k, v in first.items() if "second" not in k} == {
        k: v for k, v in plain.items() if "second" not in k
    }


def test_every_seed_has_a_start_of_its_own_where_the_start_names_none(write_campaign):
    def weights(seed, of_start):
        changes = {"policy.warm_start": {"num_steps": 2, "seed": of_start}, "seeds": [3, 4]}
        changes["name"] = f"starts-{of_start}"
        campaign = prepare(read_campaign(write_campaign(changes)))
        folder = campaign.run("grpo", seed)
        config, policy = start.load_start(worker.RunConfig(**folder.read_info().config), seed, folder)
        return config.policy.warm_start.seed, policy.model.lm_head.weight

    assert weights(3, None)[0] == 3
    assert torch.equal(weights(3, None)[1], weights(3, 3)[1])
    assert torch.equal(weights(4, 3)[1], weights(3, 3)[1])  # a start that names its seed is that of all runs
    assert not torch.equal(weights(4, None)[1], weights(3, None)[1])


def test_a_start_without_a_seed_is_refused_where_there_is_no_run(make_run):
    folder = make_run({}, {"policy.warm_start": {"num_steps": 1, "seed": None}})
    with pytest.raises(ValueError, match=r"policy.warm_start.seed: null is the seed of a run"):
        start.load_policy(worker.RunConfig(**folder.read_info().config))


def test_redraw_trains_the_policy_that_it_found(make_run, monkeypatch):
    entropies = {0: 0.1, 1: 0.2, 2: 3.0}
    monkeypatch.setattr(start, "_first_entropy", lambda *_: entropies.pop(min(entropies)))
    folder = make_run({"floor_nats": 1.0, "action": "redraw"}, {"policy.warm_start.num_steps": 1})
    train(folder)
    assert json.loads(folder.start_path.read_text())["seed"] == 2
    config, policy = start.load_start(worker.RunConfig(**folder.read_info().config), 0, folder)
    assert config.policy.warm_start.seed == 2
    expected = start.load_policy(config)
    other = start.load_policy(worker.RunConfig(**folder.read_info().config))
    weights = [each.model.get_output_embeddings().weight for each in (policy, expected, other)]
    assert weights[0].equal(weights[1])
    assert not weights[0].equal(weights[2])


def test_exhausted_attempts_end_the_run_with_a_reason(make_run):
    folder = make_run({"floor_nats": 2.8, "action": "redraw", "max_attempts": 2})
    assert worker.main(str(folder.path)) == worker.EXIT_FAILED
    reason = folder.read_status().reason
    assert "none of 2 policies" in reason
    assert "policy.initialisation.floor_nats" in reason
    assert not folder.start_path.exists()


def test_a_crashed_run_continues_from_the_same_start(make_run, monkeypatch):
    settings = {"floor_nats": FLOOR, "action": "recalibrate", "max_attempts": 5}
    straight = make_run(settings, {"tracking.folder": "straight"})
    train(straight)
    broken = make_run(settings, {"tracking.folder": "broken"})
    crash(broken, monkeypatch, iteration=4)

    def unexpected(*_: object) -> float:
        raise AssertionError("measured again")

    monkeypatch.setattr(start, "_first_entropy", unexpected)
    train(broken)
    entropies = [[r.metrics["entropy"] for r in f.records() if r.kind == "train"] for f in (straight, broken)]
    assert entropies[0] == entropies[1]
    assert straight.start_path.read_text() == broken.start_path.read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"policy.source": "some/model", "policy.initialisation": {"floor_nats": 0.3, "action": "redraw"}},
            "yaml: policy: initialisation.action must not be 'redraw' for the pretrained source 'some/model'",
        ),
        (
            {
                "policy.warm_start.seed": None,
                "policy.initialisation": {"floor_nats": 1.0, "action": "redraw"},
            },
            "yaml: policy: warm_start.seed must not be null with initialisation.action 'redraw'",
        ),
        (
            {"policy.initialisation": {"floor_nats": 9.0}},
            "policy.initialisation.floor_nats: must be below ln V",
        ),
        ({"policy.initialisation": {"floor_nats": -1.0}}, "policy.initialisation: floor_nats must be > 0"),
        ({"policy.initialisation": {"flor_nats": 0.3}}, "did you mean 'floor_nats'?"),
    ],
)
def test_what_cannot_be_done_is_refused_when_the_campaign_is_read(write_campaign, changes, message):
    result = CliRunner().invoke(app, ["validate", str(write_campaign(changes))])
    assert result.exit_code == EXIT_BAD_INPUT, result.output
    assert message in result.stderr


def test_a_method_can_set_the_policy_and_an_arm_overrides_it(write_campaign, tmp_path):
    path = write_campaign(
        {"arms": [{"name": "a", "method": "mine.yaml", "policy": {"warm_start": {"seed": 7}}}]}
    )
    (tmp_path / "mine.yaml").write_text(
        "method: mine\nsummary: s\nsource: s\n"
        "policy: {warm_start: {seed: 3, num_steps: 5}, initialisation: {floor_nats: 0.5}}\n"
    )
    policy = read_campaign(path).arms[0].config.policy
    assert policy.initialisation.floor_nats == 0.5  # of the method
    assert policy.warm_start.num_steps == 5  # of the method, over the campaign's 40
    assert policy.warm_start.seed == 7  # of the arm, over the method's 3
    assert policy.warm_start.batch_size == 32  # of the campaign
