"""A small study: one arm, two gains, an identified plant, and a stand-in for training."""

from __future__ import annotations

import copy
import threading
import time
import warnings
from contextlib import nullcontext
from pathlib import Path

import optuna
import pytest
import yaml

from orchestrator.execution import process
from orchestrator.execution.identity import own_identity
from orchestrator.tuning import trial as trials
from orchestrator.tuning.attempts import PROCESS
from orchestrator.tuning.storage import open_storage
from orchestrator.tuning.study_file import read_study

ROOT = Path(__file__).parents[3]
FAKE_TRAINING = str(Path(__file__).with_name("fake_training.py"))
KP, KI = "loops.entropy.law.kp", "loops.entropy.law.ki"

PLANT = {
    "plant": {
        "coordinates": "log",
        "a": [0.95],
        "b": [0.06],
        "delay": 1,
        "drift": -0.05,
        "noise_std": 0.03,
        "level_nats": 0.4,
    },
    "channel": {
        "actuator": {"kind": "bonus"},
        "limits": [0.0, 1.0],
        "learning_rate": 1.0e-3,
        "initial_nats": 0.5,
    },
    "origin": {"campaign": "made up"},
}
TRACKING = "sqlite:////nowhere/mlflow.db"
GONE = own_identity().rpartition(" ")[0] + " 0"
"""A process whose number another has by now."""
STUDY = {
    "name": "gains",
    "campaign": "campaign.yaml",
    "arm": "held",
    "seeds": [0, 1],
    "space": {
        KP: {"low": 0.01, "high": 10.0, "log": True},
        KI: {"low": 0.001, "high": 1.0, "log": True},
    },
    "objective": "iae",
    "budget": {"trials": 4},
    "stale_seconds": 5,
}
ARM = {
    "name": "held",
    "loops": {
        "entropy": {
            "reference": {"kind": "constant", "value_nats": 0.4},
            "law": {"kind": "pid", "kp": 1.0, "ki": 0.1, "error": "log"},
            "actuator": {"kind": "bonus"},
            "limits": [0.0, 1.0],
        }
    },
}
SIMULATION = {"plant": "plant.yaml", "trials": 64, "seeds": 2, "enqueue": 2}


@pytest.fixture
def write_study(write_campaign, tmp_path):
    """Write a campaign, a plant and a study; ``changes`` are top-level keys of the study, None removes one.

    ``in_campaign`` maps dotted keys to values, as in `write_campaign`.
    """

    def write(in_campaign=None, in_plant=None, **changes):
        write_campaign({"arms": [copy.deepcopy(ARM)], "learner.iterations": 20, **(in_campaign or {})})
        (tmp_path / "plant.yaml").write_text(yaml.safe_dump(in_plant or PLANT))
        content = {
            key: value for key, value in {**copy.deepcopy(STUDY), **changes}.items() if value is not None
        }
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return write


@pytest.fixture
def make_study(write_study):
    """The same, read."""
    return lambda **changes: read_study(write_study(**changes))


@pytest.fixture
def fake_training(monkeypatch):
    """Runs are acted out by `fake_training.py`."""
    monkeypatch.setattr(process, "WORKER", (FAKE_TRAINING,))
    monkeypatch.setattr(trials, "POLL_SECONDS", 0.02)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def storage(tmp_path):
    """An empty storage whose trials are stale after four seconds."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return open_storage(f"sqlite:///{tmp_path}/study.db", TRACKING, stale_seconds=4)


@pytest.fixture
def optuna_study(storage):
    """An Optuna study in it."""
    return optuna.create_study(study_name="a", storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))


class InMemory(optuna.storages.InMemoryStorage):
    """A storage of one process and one thread, which has every change to itself."""

    def alone(self, study):
        return nullcontext()


def ask(study):
    """A trial as Optuna itself gives it.  (It warns that its own loop is to keep the heartbeat.)"""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Heartbeat of storage", category=UserWarning)
        return study.ask()


def kill(storage, *trial_ids):
    """Make the worker of trials one that was killed."""
    for trial_id in trial_ids:
        storage.set_trial_user_attr(trial_id, PROCESS, GONE)


def age(storage, seconds, trial=None):
    """Make heartbeats older, all of them or that of one trial: as if so much time had passed since."""
    where = "" if trial is None else f" WHERE trial_id = {trial._trial_id}"
    statement = f"UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, '-{seconds} seconds'){where}"
    with storage.engine.begin() as connection:
        connection.exec_driver_sql(statement)


def stale_for_two_beats(storage, study):
    """What is stale now and, by an observer's clock that is moved on, still is two beats later."""
    storage.stale_trials(study)
    beats = 2 * storage.get_heartbeat_interval()
    storage._stale_since = {trial_id: since - beats for trial_id, since in storage._stale_since.items()}
    return storage.stale_trials(study)


def stop_when_recorded(worker, folder, num=3):
    """Tell a worker to stop as soon as a run below the folder has so many more records."""
    before = _num_records(folder)

    def watch():
        deadline = time.monotonic() + 120
        while _num_records(folder) < before + num and time.monotonic() < deadline:
            time.sleep(0.02)
        worker.stop()

    threading.Thread(target=watch, daemon=True).start()


def _num_records(folder):
    return sum(len(path.read_bytes().splitlines()) for path in folder.glob("*/*/metrics.jsonl"))
