"""Stand-ins of the trackers beside MLflow, which are no dependencies."""

from __future__ import annotations

import sys
from functools import partial
from types import ModuleType, SimpleNamespace

import pytest


class Run:
    """A run of a stand-in, which keeps what it is told."""

    def __init__(self, told, **settings):
        self.rows, self.is_finished = [], False
        self.settings = settings
        told.append(self)

    def log(self, row, step):
        self.rows.append((step, row))

    def add_scalar(self, name, value, step, wall_time):
        self.rows.append((step, {name: value}))

    def finish(self):
        self.is_finished = True

    def flush(self): ...

    close = finish


class Api:
    """Trackio's, which lists the runs of a project and deletes them."""

    def __init__(self, told):
        self.told = told

    def runs(self, project):
        there = [run for run in self.told if run.settings["project"] == project]
        if not there:
            raise ValueError("no such project")
        return [
            SimpleNamespace(name=run.settings["name"], delete=partial(self.told.remove, run)) for run in there
        ]


@pytest.fixture
def told(monkeypatch):
    """The runs that the stand-ins were told of, by the name of the package."""
    found = {name: [] for name in ("tensorboard", "wandb", "trackio")}

    def stand_in(name, **content):
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)

    stand_in("tensorboard")
    stand_in("tensorboard.summary", Writer=lambda folder: Run(found["tensorboard"], folder=folder))
    stand_in("wandb", init=lambda **how: Run(found["wandb"], **how), Settings=SimpleNamespace)
    stand_in(
        "trackio",
        init=lambda **how: Run(found["trackio"], **how),
        Api=lambda: Api(found["trackio"]),
        finish=lambda: found["trackio"][-1].finish(),
    )
    monkeypatch.setenv("TRACKIO_DIR", "somewhere")
    return found
