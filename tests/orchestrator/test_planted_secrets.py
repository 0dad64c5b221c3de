"""Credentials are planted in every setting that can hold one; nothing that is left behind has them."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from base64 import b64encode
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.errors import ConfigError
from orchestrator.execution.credentials import VARIABLE, hidden
from orchestrator.storage.run_folder import CampaignFolder
from orchestrator.training import run as training
from orchestrator.training.credentials import with_credentials
from tests.policies.fake_vllm import FakeServer

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # mlflow and sqlalchemy, in their own code
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
]

SECRET = "pl4nted"
"""Stands in every credential below, so that one search finds any of them."""


class Processes(threading.Thread):
    """Reads the command lines of all processes there are, until it is told to end."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.seen: set[str] = set()

    def run(self) -> None:
        while True:  # once at least, however quick a command is
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):  # it has ended meanwhile
                    self.seen.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            if self.over.wait(0.3):
                return

    def __enter__(self) -> Processes:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()


def call(*arguments: object) -> tuple[int, str]:
    with Processes() as processes:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert any("python" in line for line in processes.seen), "or it was not looked at what runs"
    assert not [line for line in processes.seen if SECRET in line]
    assert SECRET not in result.output
    return result.exit_code, result.output


def assert_nothing_is_left(folder: Path) -> None:
    """No file has the secret, as bytes or in its name; databases are read row by row as well."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        assert SECRET not in str(path)
        assert SECRET.encode() not in path.read_bytes(), path
    for path in folder.rglob("*.db"):
        with sqlite3.connect(path) as database:
            assert SECRET not in "\n".join(database.iterdump())


@pytest.fixture
def server():
    started = FakeServer()
    yield started
    started.stop()


@pytest.fixture
def planted(write_campaign, server, confidential_database, tmp_path, monkeypatch):
    """A campaign with credentials in its file and in the environment, for a server that asks for them."""
    monkeypatch.setenv("PLANTED_PASSWORD", f"{SECRET}%2F1%40x")
    monkeypatch.setenv("PLANTED_TOKEN", f"{SECRET}-token")
    rows = [json.dumps({"prompt": f"{a}+{b}=", "answer": str(a + b)}) for a in range(10) for b in range(10)]
    (tmp_path / f"rows.jsonl?token={SECRET}").write_text("\n".join(rows))
    address = server.url.removeprefix("http://")
    engine = {
        "kind": "vllm_server",
        "urls": [f"http://vllm:${{oc.env:PLANTED_PASSWORD}}@{address}?api_key=${{oc.env:PLANTED_TOKEN}}"],
        "retries": 1,
        "backoff_seconds": 0.01,
    }
    return write_campaign(
        {
            "description": f"beside postgresql://me:{SECRET}/@x@host/db, token={SECRET}",
            "tracking.uri": confidential_database,
            "rollout.engine": engine,
            "task": {"kind": "jsonl", "path": f"rows.jsonl?token={SECRET}"},
            "policy.warm_start.num_steps": 2,
            "learner.iterations": 1,
            "evaluation": {"every": 9, "num_problems": 1, "num_samples": 2, "pass_at": [2]},
            "arms": [{"name": "grpo", "method": "grpo"}],
        }
    )


@pytest.mark.slow
def test_a_campaign_leaves_no_credential_anywhere_and_its_clients_have_them(
    planted, server, tmp_path, monkeypatch, capfd
):
    code, output = call("run", planted)
    log = (tmp_path / "runs" / "small" / "grpo" / "seed-0" / "log.txt").read_text()
    assert code == 0, output + log
    basic = b64encode(f"vllm:{SECRET}/1@x".encode()).decode()
    assert server.shown == {(f"Basic {basic}", f"api_key={SECRET}-token")}
    assert_nothing_is_left(tmp_path / "runs")
    shown = json.loads((tmp_path / "runs" / "small" / "campaign.json").read_text())["config"]
    assert shown["tracking"]["uri"] == f"sqlite:///file:{tmp_path}/runs/mlflow.db?uri=true&token=***"
    assert shown["arms"][0]["rollout"]["engine"]["urls"][0].startswith("http://***@127.0.0.1:")

    monkeypatch.setenv("PLANTED_PASSWORD", f"{SECRET}-2")  # rotated, which changes no setting
    status = CampaignFolder(tmp_path / "runs" / "small").run("grpo", 0).read_status()
    code, output = call("run", planted)
    assert code == 0, output
    assert CampaignFolder(tmp_path / "runs" / "small").run("grpo", 0).read_status() == status
    assert SECRET not in "".join(capfd.readouterr())


def test_a_run_that_nobody_lends_credentials_to_reads_them_from_the_campaign_again(
    planted, tmp_path, monkeypatch
):
    assert call_prepare(planted) == 0
    folder = CampaignFolder(tmp_path / "runs" / "small").run("grpo", 0)
    assert VARIABLE not in os.environ
    stored = folder.read_info()
    live = with_credentials(folder, stored).config
    assert live["task"]["path"] == f"rows.jsonl?token={SECRET}"
    assert f"vllm:{SECRET}%2F1%40x@" in live["rollout"]["engine"]["urls"][0]
    assert {**live, "task": 0, "rollout": 0} == {**stored.config, "task": 0, "rollout": 0}
    assert_no_secret_in_json(tmp_path / "runs")

    planted.unlink()
    with pytest.raises(ConfigError, match=r"run\.json: rollout\.engine\.urls\.0, task\.path: stored without"):
        with_credentials(folder, stored)
    assert training.main(str(folder.path)) == training.EXIT_FAILED
    assert "give the command that began the campaign again" in folder.read_status().reason


def call_prepare(path: Path) -> int:
    return CliRunner().invoke(app, ["prepare", str(path)]).exit_code


def assert_no_secret_in_json(folder: Path) -> None:
    for path in folder.rglob("*.json"):
        assert SECRET not in path.read_text(), path


def test_stars_of_the_user_s_own_are_no_hidden_credential(write_campaign, tmp_path):
    path = write_campaign({"rollout.stop": ["***"], "policy.source": "some/model"})
    assert call_prepare(path) in (0, 2)
    folder = CampaignFolder(tmp_path / "runs" / "small").run("grpo", 0)
    if (folder.path / "run.json").exists():
        info = folder.read_info()
        assert info.hidden == []
        assert with_credentials(folder, info) == info


def test_a_setting_with_a_credential_in_its_name_is_refused():
    assert hidden({"sources": {"https://host/a": "https://me:pw@host"}}) == [["sources", "https://host/a"]]
    with pytest.raises(
        ConfigError, match=r"sources\.https://\*\*\*@host: the name of a setting has"
    ) as caught:
        hidden({"sources": {f"https://me:{SECRET}@host": 1}})
    assert SECRET not in str(caught.value)


def test_the_driver_of_a_ray_cluster_has_no_credential_on_its_command_line(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    from orchestrator.execution import ray_cluster
    from orchestrator.execution.base import ExecutorError

    monkeypatch.setattr(
        ray_cluster, "DRIVER", ("-c", "import sys; print(sys.stdin.readline(), file=sys.stderr)")
    )
    settings = {"address": f"ray://me:{SECRET}@127.0.0.1:9"}
    driver = ray_cluster.Driver(settings, tmp_path / "said.txt")
    try:
        assert SECRET not in " ".join(driver.process.args)
        with pytest.raises(ExecutorError, match=r"the Ray cluster 'ray://\*\*\*@127\.0\.0\.1:9'") as caught:
            driver.wait_until_ready()
        assert SECRET not in str(caught.value)
    finally:
        driver.close()
    assert json.loads((tmp_path / "said.txt").read_text())["address"] == settings["address"]


def test_what_a_worker_prints_and_logs_is_masked(tmp_path):
    code = (
        "import logging, sys; from orchestrator.masking import mask_output\n"
        f"mask_output('http://u:{SECRET}%2Fx@h')\n"
        "logging.basicConfig()\n"
        f"print('{SECRET}/x'); logging.getLogger('a').warning('http://v:{SECRET}@w:1')\n"
        f"raise ValueError('http://v:{SECRET}@w:1/z')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert SECRET not in done.stdout
    assert "http://***@w:1" in done.stderr
    assert SECRET not in "\n".join(
        line for line in done.stderr.splitlines() if "raise" not in line and "print" not in line
    )
