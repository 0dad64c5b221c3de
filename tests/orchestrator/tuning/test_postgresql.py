"""A real PostgreSQL server under load from several workers: one is killed, the server is restarted, nothing is lost."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from orchestrator.errors import ConfigError
from orchestrator.storage.run_folder import CampaignFolder, CampaignInfo
from orchestrator.tuning.addressed_sampling import place_of, sampler
from orchestrator.tuning.attempts import REASON, counted, folder_name
from orchestrator.tuning.records import find_for, find_study, open_for, open_study
from orchestrator.tuning.space import suggest
from orchestrator.tuning.storage import find_storage, open_storage
from orchestrator.tuning.study_storage import StudyStorage
from orchestrator.tuning.trial_queue import TrialQueue
from tests.orchestrator.tuning.conftest import ROOT, TRACKING, kill, stale_for_two_beats

NUM_TRIALS, NUM_WORKERS = 40, 4
PROGRAM = """
import os, sys, time
import orchestrator.tracking.tracker as tracker
import orchestrator.tuning.worker as worker
from orchestrator.tuning.judging import Score
from orchestrator.tuning.trial import TrialEnding


class NoTracker:
    def __init__(self, *_, **__): ...
    def deliver_group(self, path): ...


class Trivial:
    begun = 0

    def __init__(self, study, trial, params, name, *, crew, interrupted):
        self.path, self.params, self.trial, self.interrupted = study.folder / name, params, trial, interrupted

    def run(self):
        Trivial.begun += 1
        if os.environ.get("HANGS") and Trivial.begun == 3:
            print("hangs at", self.trial.number, flush=True)
            time.sleep(600)
        time.sleep(0.1)
        values = (sum(self.params.values()),)
        state = "stopped" if self.interrupted() else "complete"
        return TrialEnding(state=state, score=Score(values=values, violations={}))


tracker.Tracker, worker.TrainedTrial, worker.WAIT_SECONDS, worker.RETRY_SECONDS = NoTracker, Trivial, 0.1, 0.2
sys.exit(worker.main([sys.argv[1], "--index", "0"]))
"""


def programs():
    """The folder with the server's programs, or None."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


class Server:
    """A PostgreSQL server on loopback in a folder of its own, run by a user that is not root."""

    def __init__(self, folder):
        self._bin, self._data = programs(), folder / "data"
        self._log = folder / "log"
        self._user = {}
        if os.geteuid() == 0:  # which the server refuses
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"postgresql+psycopg://me@127.0.0.1:{self._port}/postgres"
        command = [
            self._bin / "initdb",
            "-D",
            self._data,
            "-U",
            "me",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        subprocess.run([*command, "--no-sync"], check=True, capture_output=True, cwd=folder, **self._user)
        self.start()

    def start(self):
        settings = [
            f"port={self._port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
        ]
        command = [self._bin / "postgres", "-D", self._data, *(f"--{each}" for each in settings)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._data.parent, **self._user
            )
        self._until_it_answers()

    def stop(self, how):
        self._process.send_signal(how)
        self._process.wait(60)

    def _until_it_answers(self):
        import psycopg

        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url.replace("+psycopg", ""), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, self._log.read_text()
                assert time.monotonic() < deadline, self._log.read_text()
                time.sleep(0.1)


@pytest.fixture(scope="module")
def server():
    """A server that is there for this module, or a visible reason why not."""
    pytest.importorskip("psycopg", reason="needs psycopg (pip install 'psycopg[binary]')")
    if programs() is None:
        pytest.skip("needs PostgreSQL (apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    try:
        running = Server(folder)
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(folder)
        pytest.skip(f"PostgreSQL cannot be started here: {getattr(error, 'stderr', b'') or error}")
    yield running
    running.stop(signal.SIGINT)
    shutil.rmtree(folder)


@pytest.fixture
def url(server, monkeypatch):
    """A database of its own for each test."""
    import psycopg

    name = f"d{time.time_ns()}"
    with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    with monkeypatch.context() as kept:
        made = []
        real = StudyStorage.__init__

        def make(self, *arguments, **settings):
            made.append(self)
            real(self, *arguments, **settings)

        kept.setattr(StudyStorage, "__init__", make)
        yield server.url.removesuffix("postgres") + name
    for storage in made:
        storage.engine.dispose()


def tables(url):
    import psycopg

    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return {name for (name,) in found}


@pytest.mark.slow
def test_looking_makes_nothing_and_a_database_of_mlflow_is_refused(url):
    import psycopg

    assert find_storage(url, TRACKING) is None
    assert tables(url) == set()
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE TABLE experiments (id INTEGER)")
    with pytest.raises(ConfigError, match="is a database of MLflow"):
        open_storage(url, TRACKING)
    assert tables(url) == {"experiments"}


@pytest.mark.slow
def test_a_trial_without_a_heartbeat_is_stale(url):
    storage = open_storage(url, TRACKING, stale_seconds=4)
    study = optuna.create_study(study_name="a", storage=storage)
    queue = TrialQueue(study, storage, budget=3)
    silent, alive, killed = queue.take(), queue.take(), queue.take()
    assert queue.take() is None
    kill(storage, killed)
    list(queue.tidy(retries=3))
    assert [trial.state.name for trial in study.trials] == ["RUNNING", "RUNNING", "FAIL", "WAITING"]
    time.sleep(4.5)
    storage.record_heartbeat(alive)
    assert stale_for_two_beats(storage, study) == [silent]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_workers_under_load_lose_nothing_and_do_nothing_twice(make_study, server, url, tmp_path):
    study = make_study(
        storage=url, budget={"trials": NUM_TRIALS}, seeds=[0], stale_seconds=4, sampler={"kind": "random"}
    )
    CampaignFolder(study.folder).write_info(CampaignInfo(name="gains", config=study.plain))
    found = open_study(study, open_for(study, url, TRACKING))
    workers = [victim := begin_worker(study, tmp_path / "log-0", hangs=True)]
    try:
        until(
            lambda: "hangs at" in (tmp_path / "log-0").read_text(), workers
        )  # before others take all of them
        others = [
            begin_worker(study, tmp_path / f"log-{index}", hangs=False) for index in range(1, NUM_WORKERS)
        ]
        workers += others
        until(lambda: counted(found.get_trials()) >= 12, others)
        victim.kill()
        victim.wait()
        server.stop(signal.SIGINT)
        time.sleep(1.0)
        server.start()
        for index, worker in enumerate(others, 1):
            assert worker.wait(240) == 0, (tmp_path / f"log-{index}").read_text()
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
            worker.stdin.close()
    found = find_study(study, find_for(study, url, TRACKING))
    trials = found.get_trials()
    assert [trial.number for trial in trials] == list(range(len(trials)))
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert sorted(place_of(found, trial) for trial in complete) == list(range(NUM_TRIALS))
    assert len({folder_name(trial) for trial in complete}) == NUM_TRIALS
    assert {trial.state.name for trial in trials} == {"COMPLETE", "FAIL"}
    hung = trials[int((tmp_path / "log-0").read_text().split("hangs at")[1].split()[0])]
    assert hung.user_attrs[REASON] == "its worker died"
    (heir,) = [trial for trial in complete if folder_name(trial) == folder_name(hung)]
    assert heir.params == hung.params
    expected = optuna.create_study(sampler=sampler(study.config.sampler, conditional=False))
    drawn = [suggest(expected.ask(), study.config.space) for _ in range(NUM_TRIALS)]
    assert {place_of(found, trial): trial.params for trial in complete} == dict(enumerate(drawn))


def begin_worker(study, log, *, hangs):
    environment = (
        os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | ({"HANGS": "1"} if hangs else {})
    )
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(study.path)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )


def until(condition, workers, seconds=180.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert any(worker.poll() is None for worker in workers)
        assert time.monotonic() < deadline
        time.sleep(0.2)
