"""What Ray is asked for, seen by one that only takes note: these tests need no cluster."""

from __future__ import annotations

import io
import sys
from types import ModuleType, SimpleNamespace

import pytest

from orchestrator.execution.ray_driver import Tasks, _can_hold, _knock, _lines, _wants, main

SETTINGS = {
    "num_cpus": 2,
    "num_gpus": 0.5,
    "memory_gib": 3,
    "resources": {"big": 1},
    "worker": ["worker"],
    "threads": 4,
}


@pytest.fixture
def asked(monkeypatch):
    """What `ray` was asked for: pairs of a name and what came with it."""
    notes = []

    def options(**settings):
        notes.append(("options", settings))
        return SimpleNamespace(remote=lambda *arguments: notes.append(("remote", arguments)) or "task")

    ray = ModuleType("ray")
    ray.remote = lambda _: SimpleNamespace(options=options)
    ray.cancel = lambda task, force: notes.append(("cancel", force))
    monkeypatch.setitem(sys.modules, "ray", ray)
    for name in ("HF_TOKEN", "ENTROSTAT_BORROWED"):
        monkeypatch.delenv(name, raising=False)
    return notes


def test_a_task_asks_for_what_the_settings_say(asked):
    Tasks(SETTINGS, print).obey("begin", "runs/a")
    (_, options), (_, arguments) = asked
    assert options == {
        "name": "runs/a",
        "max_retries": 0,
        "num_cpus": 2,
        "num_gpus": 0.5,
        "memory": 3_221_225_472,  # 3 · 2**30 bytes
        "resources": {"big": 1},
    }
    assert arguments[:3] == ("runs/a", ["worker"], 4)
    Tasks(SETTINGS | {"memory_gib": None, "resources": {}}, print).obey("begin", "runs/b")
    assert (asked[2][1]["memory"], asked[2][1]["resources"]) == (None, None)


def test_only_a_task_that_runs_is_asked_to_stop_or_killed(asked):
    tasks = Tasks(SETTINGS, print)
    tasks.obey("ask", "runs/a")
    assert asked == []
    tasks.obey("begin", "runs/a")
    tasks.obey("ask", "runs/a")
    tasks.obey("kill", "runs/a")
    tasks.ask_all()
    assert [note for note in asked if note[0] == "cancel"] == [
        ("cancel", False),
        ("cancel", True),
        ("cancel", False),
    ]


def test_a_machine_holds_a_task_that_needs_no_more_than_it_has():
    node = {"Alive": True, "Resources": {"CPU": 2, "GPU": 1, "memory": 3 * 2**30, "big": 1}}
    assert _can_hold(node, SETTINGS)
    assert not _can_hold(node | {"Alive": False}, SETTINGS)
    for name, less in (("CPU", 1), ("GPU", 0.25), ("memory", 3 * 2**30 - 1), ("big", 0)):
        assert not _can_hold(node | {"Resources": node["Resources"] | {name: less}}, SETTINGS), name
    without = SETTINGS | {"memory_gib": None, "num_gpus": 0, "resources": {}}
    assert _can_hold({"Alive": True, "Resources": {"CPU": 2}}, without)
    assert _wants(without) == "CPU 2"
    assert _wants(SETTINGS) == "CPU 2, GPU 0.5, memory 3.22123e+09, big 1"


@pytest.mark.parametrize(
    ("num_cpus", "grows", "status"), [(2, False, 0), (2, True, 0), (3, False, 1), (3, True, 0)]
)
def test_a_cluster_without_room_is_refused_unless_it_grows(asked, num_cpus, grows, status):
    ray, said = sys.modules["ray"], []
    ray.init = lambda **settings: asked.append(("init", settings["address"]))
    ray.nodes = lambda: [{"Alive": True, "Resources": {"CPU": 2}}, {"Alive": False, "Resources": {"CPU": 9}}]
    ray.shutdown = lambda: asked.append(("shutdown", None))
    wanted = {"num_cpus": num_cpus, "num_gpus": 0, "memory_gib": None, "resources": {}}
    assert main(SETTINGS | wanted | {"address": "auto", "grows": grows}, io.BytesIO(), said.append) == status
    assert asked[0] == ("init", "auto")
    if status:
        (message,) = said
        assert "CPU 3" in message["refusal"]
    else:
        assert said == [{"ready": True}]
        assert asked[-1] == ("shutdown", None)


def test_a_cluster_that_cannot_be_joined_is_a_refusal_in_one_line(asked):
    def refuse(**_):
        raise RuntimeError("no\n  answer")

    sys.modules["ray"].init, said = refuse, []
    assert main(SETTINGS | {"address": "auto", "grows": False}, io.BytesIO(), said.append) == 1
    (message,) = said
    assert "no answer" in message["refusal"]


def test_only_an_address_with_a_port_is_knocked_at(monkeypatch):
    knocked = []

    def connect(where, timeout):
        knocked.append(where)
        return SimpleNamespace(close=lambda: None)

    monkeypatch.setattr("socket.create_connection", connect)
    for address in ("auto", "ray://head:10001", "head:", "local"):
        _knock(address)
    assert knocked == []
    _knock("head:6379")
    assert knocked == [("head", 6379)]


def test_orders_are_read_to_the_end():
    orders = iter([b'{"order": "begin", "path": "a"}\n', b'{"order": "ask", "path": "a"}\n'])
    assert [order["order"] for order in _lines(orders) if order is not None] == ["begin", "ask"]
