"""What guardrails do to a run: warn, hold, roll back, stop; and that they do nothing where they do not fire."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from controllers.loop_state import restore
from orchestrator.campaign import prepare, retry_stopped, runs_of
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.resolve import read_campaign
from orchestrator.storage.guardrail_files import (
    Event,
    Rollback,
    append_event,
    forget_events,
    read_events,
    read_rollbacks,
    write_rollbacks,
)
from orchestrator.storage.metrics_log import MetricsWriter
from orchestrator.storage.run_folder import RunFolder
from orchestrator.storage.stored_columns import stored_columns
from orchestrator.training import rollback
from orchestrator.training import run as worker
from orchestrator.training.entropy_control import EntropyControl
from orchestrator.training.guardrails import Guardrails, GuardrailStop, RollbackDue
from orchestrator.training.rollback import limits_of, narrowed
from tests.orchestrator.training.forced_readings import (
    command_and_environment,
    force_here,
    pulled,
    pushed,
    raised,
)
from tests.orchestrator.training.test_entropy_control import through_torch

pytestmark = pytest.mark.trains

CLOCKS = ("seconds/", "rollout/tokens_per_second")
PI = {
    "reference": {"kind": "constant", "value_nats": 0.4},
    "law": {"kind": "pid", "kp": 0.5, "ki": 0.1},
    "actuator": {"kind": "bonus"},
    "limits": [0.0, 1.0],
}
PUSH = {"law": {"kind": "open_loop", "value": 1.0}, "actuator": {"kind": "bonus"}}
PULL = {"law": {"kind": "open_loop", "value": -0.5}, "actuator": {"kind": "bonus"}}


def config_of(loops, **guardrails):
    only = dict.fromkeys(
        (
            "collapse",
            "explosion",
            "truncation",
            "repetition",
            "starvation",
            "mismatch",
            "stagnation",
            "decline",
        )
    )
    return RunConfig(
        task={"kind": "arithmetic", "num_digits": 1},
        learner={"iterations": 20},
        loops=loops,
        guardrails=only | guardrails,
    )


def guardrails_of(config, folder, attempt=0):
    control = EntropyControl(config.loops)
    return Guardrails(config, control, folder, attempt=attempt), control


def end_of_iteration(guardrails):
    guardrails.on_train_batch_end(None, None)


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


def test_a_warning_is_a_metric_and_an_event_and_nothing_else(folder):
    guardrails, control = guardrails_of(config_of({}, truncation={"patience": 2}), folder)
    said = [guardrails.watch(t, {"rollout/truncated": share}) for t, share in enumerate([0.9, 0.8, 0.7, 0.1])]
    assert said == [{"guard/truncation": level} for level in (0.0, 1.0, 1.0, 0.0)]
    end_of_iteration(guardrails)
    assert not control.holding
    (event,) = read_events(folder.events_path)  # once, however long it lasts
    assert (event.iteration, event.detector, event.action) == (1, "truncation", "warn")
    assert event.reason == (
        "truncation: share of truncated responses was above 0.5 for 2 iterations, last 0.8"
    )


def noisy(entropy):
    """A reading with the error of a few tokens, and the setpoint that its loop would have recorded."""
    return {"entropy": entropy, "entropy/standard_error": 0.5 * entropy, "loop/entropy/r": 0.4}


def test_what_a_law_says_of_itself_is_an_event_once_a_run(folder):
    loops = {"entropy": {**PI, "law": {"kind": "auto"}, "limits": [-1.0, 1.0]}}
    guardrails, control = guardrails_of(config_of(loops), folder)
    generator = random.Random(0)
    for t in range(40):
        reading = noisy(0.4 * generator.lognormvariate(0.0, 0.5))
        control.act(reading, t)
        guardrails.watch(t, reading)
        if t == 18:
            assert read_events(folder.events_path) == []
    end_of_iteration(guardrails)  # a warning ends nothing
    (event,) = read_events(folder.events_path)
    assert (event.iteration, event.detector, event.subject, event.action) == (19, "noise", "entropy", "warn")
    assert event.reason.startswith("noise: the loop 'entropy' says: readings are too noisy: about ")

    # a resumed run does not say it again, and one from before it does
    for state, events in ((guardrails.state_dict(), 1), (guardrails.state_dict() | {"said": []}, 2)):
        resumed = Guardrails(config_of(loops), control, folder, attempt=0)
        resumed.load_state_dict(through_torch(state))
        resumed.watch(40, noisy(0.4))
        assert len(read_events(folder.events_path)) == events


def test_laws_that_say_nothing_of_themselves_are_no_event(folder):
    guardrails, control = guardrails_of(config_of({"entropy": PI}), folder)
    for t in range(40):
        control.act(noisy(0.2 if t % 2 else 0.6), t)
        guardrails.watch(t, noisy(0.4))
    assert read_events(folder.events_path) == []


def test_entropy_is_held_against_the_setpoint_of_each_loop_or_its_start(folder):
    loops = {"plus": {**PI, "domain": "add1"}, "minus": {**PI, "domain": "sub1"}}
    guardrails, _ = guardrails_of(config_of(loops, collapse={"threshold": 0.5, "patience": 1}), folder)
    telemetry = {"entropy": 0.4, "entropy/domain/add1": 0.4, "entropy/domain/sub1": 0.1}
    telemetry |= {"loop/plus/r": 0.4, "loop/minus/r": 0.4}
    guardrails.watch(0, dict.fromkeys(telemetry, 0.4))
    assert guardrails.watch(1, telemetry) == {"guard/collapse": 1.0}
    (event,) = read_events(folder.events_path)
    assert (event.subject, event.value, event.threshold) == ("minus", 0.1, 0.2)
    free, _ = guardrails_of(config_of({"a": PUSH}, collapse={"threshold": 0.5, "patience": 1}), folder)
    assert free.watch(0, {"entropy": 1.0}) == {"guard/collapse": 0.0}
    assert free.watch(1, {"entropy": 0.4}) == {"guard/collapse": 1.0}


def test_hold_keeps_every_command_while_it_lasts(folder):
    config = config_of({"a": PI}, starvation={"patience": 1, "action": "hold"})
    guardrails, control = guardrails_of(config, folder)
    before = control.act({"entropy": 0.3}, 0)["a"]
    guardrails.watch(0, {"rollout/starved_groups": 1.0})
    held = control.act({"entropy": 0.1}, 1)["a"]
    assert held.held
    assert held.u == before.u > 0
    again, control_again = guardrails_of(config, folder)
    again.load_state_dict(json.loads(json.dumps(guardrails.state_dict())))
    assert control_again.holding
    guardrails.watch(1, {"rollout/starved_groups": 0.0})
    assert not control.act({"entropy": 0.1}, 2)["a"].held


def test_stop_and_rollback_are_raised_at_the_end_of_the_iteration_and_stop_goes_first(folder):
    collapse = {"patience": 1, "action": "rollback"}
    truncation = {"patience": 1, "action": "stop"}
    trouble = {"entropy": 0.01, "rollout/truncated": 0.9}
    guardrails, _ = guardrails_of(config_of({}, collapse=collapse), folder)
    guardrails.watch(0, {"entropy": 1.0})
    end_of_iteration(guardrails)
    guardrails.watch(1, trouble)
    with pytest.raises(RollbackDue, match="collapse: entropy was below"):
        end_of_iteration(guardrails)
    both, _ = guardrails_of(config_of({}, collapse=collapse, truncation=truncation), folder)
    both.watch(0, {"entropy": 1.0})
    both.watch(1, trouble)
    with pytest.raises(GuardrailStop, match="truncation: "):
        end_of_iteration(both)


def test_an_iteration_is_good_until_what_is_rolled_back_for_begins(folder):
    config = config_of({}, collapse={"patience": 3, "action": "rollback"}, truncation={"patience": 1})
    guardrails, _ = guardrails_of(config, folder)
    assert guardrails.can_roll_back
    good = []
    for t, (y, cut) in enumerate([(1.0, 0.0), (0.9, 0.9), (0.05, 0.0), (0.5, 0.0)]):
        guardrails.watch(t, {"entropy": y, "rollout/truncated": cut})
        good.append(guardrails.is_good)
    assert good == [True, True, False, True]  # the truncation only warns
    assert not guardrails_of(config_of({}, truncation={}), folder)[0].can_roll_back


def test_state_of_a_detector_that_only_warns_may_come_and_go(folder):
    one, _ = guardrails_of(config_of({}, truncation={"patience": 2}, stagnation={}), folder)
    one.watch(0, {"rollout/truncated": 0.9, "reward": 0.5})
    other, _ = guardrails_of(config_of({}, truncation={"patience": 2}, mismatch={}), folder)
    other.load_state_dict(through_torch(one.state_dict()))
    assert other.watch(1, {"rollout/truncated": 0.9}) == {"guard/truncation": 1.0, "guard/mismatch": 0.0}
    state = one.state_dict()["states"]["stagnation"]
    assert restore(json.loads(json.dumps(state))) == state


@pytest.mark.parametrize(
    ("side", "limits", "commands", "after"),
    [
        ("high", (0.0, 1.0), [0.2, 0.8, 0.0], (0.0, 0.4)),  # half of the strongest push
        ("high", (-1.0, 1.0), [-0.2, -0.8], (-1.0, -0.4)),  # braked all along: at least half of the hardest
        ("high", (-1.0, 1.0), [-0.5, -0.5], (-1.0, -1.0)),  # where that is no more: twice
        ("high", (0.0, 1.0), [0.0, 0.0], (0.0, 1.0)),  # did nothing: no limit helps
        ("low", (-1.0, 1.0), [0.3, -0.8], (-0.4, 1.0)),
        ("low", (0.0, 1.0), [0.0, 0.8], (0.4, 1.0)),  # half of the strongest push at least
        ("low", (0.0, 1.0), [0.3, 0.3], (0.6, 1.0)),
        ("low", (0.0, 1.0), [1.0, 1.0], (0.0, 1.0)),  # at its limit all along: no authority
        ("none", (-1.0, 1.0), [-0.4, 0.8], (-0.2, 0.4)),
        ("none", (0.0, 1.0), [0.2, 0.6], (0.0, 0.3)),
    ],
)
def test_a_rollback_narrows_limits(side, limits, commands, after):
    assert narrowed(side, limits, 0.0, commands, 0.5) == pytest.approx(after)


def test_narrowing_counts_from_neutral():
    assert narrowed("high", (0.2, 5.0), 1.0, [1.0, 3.0], 0.25) == pytest.approx((0.2, 1.5))


def test_limits_that_exclude_neutral_build_a_loop():
    config = config_of({"a": PI})
    control = EntropyControl(config.loops, limits={"a": (0.5, 1.0)})
    assert control.commands == {"bonus": 0.5}  # an update may come before the loop speaks
    assert control.act({"entropy": 0.4}, 0)["a"].u == 0.5
    rollbacks = [Rollback(iteration=9, to=4, detector="collapse", reason="", limits={"a": (0.5, 1.0)})]
    assert limits_of(config.loops, rollbacks) == {"a": (0.5, 1.0)}
    assert limits_of(config.loops, []) == {"a": (0.0, 1.0)}


@pytest.mark.parametrize(
    ("measure", "kind", "high"),
    [
        ("before_update", "bonus", 0.4),  # half of what was commanded at 2 and 3
        ("in_update", "bonus", 0.3),  # at 1 and 2, which the updates of 2 and 3 had
        ("in_update", "temperature", 0.4),  # a command on sampling waits no longer than before
    ],
)
def test_a_rollback_goes_by_the_commands_that_were_in_force(folder, monkeypatch, measure, kind, high):
    loop = {"law": {"kind": "open_loop", "value": 1.0}, "actuator": {"kind": kind}}
    config = config_of({"a": loop}, explosion={"action": "rollback"})
    config = config.model_copy(update={"learner": config.learner.model_copy(update={"measure": measure})})
    neutral = config.loops["a"].actuator.command.neutral
    folder.path.mkdir()
    with MetricsWriter(folder.metrics_path) as written:
        for step, u in enumerate([1.0, 0.6, 0.2, 0.8]):
            written.append(step, {"loop/a/u": neutral + u})
    folder.good_checkpoint_path.parent.mkdir(parents=True)
    folder.good_checkpoint_path.write_bytes(b"weights")
    monkeypatch.setattr(rollback, "_good_iteration", lambda _: 2)
    found = rollback.roll_back(folder, config, Event(iteration=3, detector="explosion", action="rollback"))
    assert found.to == 2
    assert found.limits["a"][1] == pytest.approx(neutral + high)


def test_events_after_the_checkpoint_are_forgotten_but_for_what_was_rolled_back(folder):
    first = Event(iteration=8, detector="explosion", action="rollback", attempt=0)
    for event in (first, replace(first, iteration=5, attempt=1), replace(first, iteration=7, attempt=1)):
        append_event(folder.events_path, event)
    with folder.events_path.open("ab") as file:
        file.write(b'{"iteration": 9, "det')  # torn
    forget_events(folder.events_path, 6, 1)
    assert [(e.attempt, e.iteration) for e in read_events(folder.events_path)] == [(0, 8), (1, 5)]
    rollback = Rollback(iteration=8, to=4, detector="explosion", reason="r", limits={"a": [0.0, 0.5]})
    write_rollbacks(folder.rollbacks_path, [rollback])
    assert read_rollbacks(folder.rollbacks_path) == [rollback]
    assert not rollback.redraws
    assert replace(rollback, limits={}).redraws
    folder.events_path.write_bytes(b"{}\n")
    with pytest.raises(ValueError, match="not an event"):
        read_events(folder.events_path)


# Real runs.


LONG = {"learner.iterations": 12, "learner.checkpoint_every": 2, "evaluation.every": 6}
EXPLODES = {
    "arms": [
        {
            "name": "pushed",
            "loops": {"entropy": PUSH},
            "guardrails": {
                "explosion": {"threshold": 1.6, "patience": 2, "action": "rollback"},
                "limit_factor": 0.02,
            },
        }
    ],
}


@pytest.fixture
def fresh(write_campaign):
    """Make the folder of an arm of the small campaign with some changes, in a runs folder of its own."""

    def make(name, changes, arm="held"):
        torch.set_num_threads(1)
        return prepare(read_campaign(write_campaign({**LONG, **changes, "tracking.folder": name}))).run(
            arm, 0
        )

    return make


def results(folder, without=CLOCKS):
    return [
        (r.step, r.kind, {k: v for k, v in r.metrics.items() if not k.startswith(without)})
        for r in folder.records()
    ]


def weights(folder):
    return load_file(folder.policy_path / "model.safetensors")


def assert_same(one, other):
    assert results(one) == results(other)
    first, second = weights(one), weights(other)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_a_run_without_guardrails_is_the_same_but_for_their_metrics(fresh):
    on, off = fresh("on", {}), fresh("off", {"guardrails.enabled": False})
    assert worker.main(str(on.path)) == worker.main(str(off.path)) == worker.EXIT_DONE
    assert any(name.startswith("guard/collapse") for *_, metrics in results(on) for name in metrics)
    without = (*CLOCKS, "guard/")
    assert results(on, without) == results(off, without)
    first, second = weights(on), weights(off)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_a_rollback_that_never_comes_changes_nothing(fresh):
    plain = fresh("plain", {})
    armed = fresh("armed", {"guardrails.explosion": {"threshold": 50.0, "action": "rollback"}})
    assert worker.main(str(plain.path)) == worker.main(str(armed.path)) == worker.EXIT_DONE
    assert_same(plain, armed)


@pytest.mark.slow
def test_an_explosion_is_rolled_back_and_the_run_goes_on_with_another_limit(fresh, monkeypatch):
    force_here(monkeypatch, pushed)
    folder = fresh("rolled", EXPLODES, "pushed")
    assert worker.main(str(folder.path)) == worker.EXIT_DONE, folder.read_status()
    (rollback,) = read_rollbacks(folder.rollbacks_path)
    assert rollback.detector == "explosion"
    assert rollback.limits == {"entropy": [-1.0, 0.02]}
    # High at 5 and 6.  It is saved at 2, 4 and 6, where it is high; only the save of 4 has proved that of 2.
    assert (rollback.iteration, rollback.to) == (6, 2)
    records = [record for record in folder.records() if record.kind == "train"]
    assert [record.step for record in records] == list(range(12))
    assert [record.metrics["loop/entropy/u"] for record in records] == [1.0] * 2 + [0.02] * 10
    assert {record.metrics["entropy"] for record in records} == {1.0}
    (event,) = [event for event in read_events(folder.events_path) if event.action == "rollback"]
    assert (event.iteration, event.value, event.threshold) == (6, 3.0, 1.6)


@pytest.mark.slow
def test_a_run_that_is_killed_after_a_rollback_comes_to_the_same(fresh, monkeypatch):
    force_here(monkeypatch, pushed)
    straight, killed = fresh("straight", EXPLODES, "pushed"), fresh("killed", EXPLODES, "pushed")
    assert worker.main(str(straight.path)) == worker.EXIT_DONE
    back = read_rollbacks(straight.rollbacks_path)[0].to
    command, environment = command_and_environment(pushed)
    with killed.log_path.open("ab") as log:
        process = subprocess.Popen(
            [*command, str(killed.path)],
            env=environment | {"OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    deadline = time.monotonic() + 240
    while not (
        killed.rollbacks_path.exists()
        and any(record.kind == "train" and back < record.step for record in killed.records())
    ):
        assert time.monotonic() < deadline
        assert process.poll() is None, killed.log_path.read_text()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert worker.main(str(killed.path)) == worker.EXIT_DONE
    assert_same(straight, killed)
    assert read_rollbacks(straight.rollbacks_path) == read_rollbacks(killed.rollbacks_path)
    assert read_events(straight.events_path) == read_events(killed.events_path)


@pytest.mark.slow
def test_where_no_limit_can_change_other_responses_are_drawn_and_rollbacks_end(fresh, monkeypatch):
    force_here(monkeypatch, raised)
    explosion = {"threshold": 5.0, "unit": "nats", "patience": 1, "action": "rollback"}
    changes = {"guardrails": {"explosion": explosion, "max_rollbacks": 1}, "learner.checkpoint_every": 5}
    folder = fresh("again", changes, "grpo")
    assert worker.main(str(folder.path)) == worker.EXIT_DONE
    status = folder.read_status()
    assert (status.status, status.iteration) == ("stopped", 3)
    assert status.reason.endswith("it was rolled back 1 times before")
    (rollback,) = read_rollbacks(folder.rollbacks_path)
    assert rollback.redraws
    assert rollback.to == 0  # nothing was saved yet
    first, second = (e.value for e in read_events(folder.events_path) if e.action == "rollback")
    assert first > 10
    assert first != second  # ten more than the entropy of other responses


@pytest.mark.slow
def test_a_collapse_stops_the_run_which_is_not_started_again(fresh, write_campaign, monkeypatch):
    force_here(monkeypatch, pulled)
    changes = {
        "learner.checkpoint_every": 1,
        "arms": [
            {
                "name": "pulled",
                "loops": {"entropy": PULL},
                "guardrails": {
                    "collapse": {"threshold": 0.6, "patience": 2, "action": "stop"},
                    "limit_factor": 0.01,
                },
            }
        ],
    }
    folder = fresh("stopped", changes, "pulled")
    assert worker.main(str(folder.path)) == worker.EXIT_DONE
    status = folder.read_status()
    assert (status.status, status.iteration) == ("stopped", 6)  # low at 4 and 5
    assert status.reason == "collapse: entropy was below 0.6 nats/token for 2 iterations, last 0.3"
    assert stored_columns(folder.metrics_path).train.steps.size == status.iteration
    campaign = read_campaign(write_campaign({**LONG, **changes, "tracking.folder": "stopped"}))
    prepare(campaign)
    assert folder.read_status() == status

    # Asked for, it goes on from before the collapse, with less of the command that there was.
    stopped = [record for record in folder.records() if record.kind == "train"]
    ((run, rollback),) = retry_stopped(runs_of(campaign))
    assert run == folder
    assert [each.requested for each in read_rollbacks(folder.rollbacks_path)] == [True]
    assert rollback.to == 3  # the save of 5 was low already, that of 4 has proved that of 3
    assert rollback.limits == {"entropy": (-0.005, 1.0)}  # a hundredth of what it gave
    assert folder.read_status().status == "pending"
    assert retry_stopped(runs_of(campaign)) == []
    assert worker.main(str(folder.path)) == worker.EXIT_DONE
    assert folder.read_status().status == "done"
    records = [record for record in folder.records() if record.kind == "train"]
    assert [record.step for record in records] == list(range(12))
    assert records[: rollback.to] == stopped[: rollback.to]
    assert {record.metrics["loop/entropy/u"] for record in records[rollback.to :]} == {-0.005}
    first = read_events(folder.events_path)[0]
    assert (first.reason, first.attempt) == (status.reason, 0)  # what stopped it is not forgotten
