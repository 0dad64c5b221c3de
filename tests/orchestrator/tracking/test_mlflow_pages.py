"""A real `mlflow server` on loopback, looked at with a browser: its own pages show what was tracked."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from urllib.parse import quote

import pytest

from orchestrator.report import write_page
from orchestrator.storage.run_data import load_campaign
from orchestrator.tracking.read import fetch_runs
from orchestrator.tracking.store import open_client
from orchestrator.tracking.tracker import Tracker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # mlflow and sqlalchemy, in their own code
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
]


@pytest.fixture
def server(tmp_path, empty_database):
    """Address of a server of its own; artifacts go through it."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"),
        *("--workers", "1", "--host", "127.0.0.1", "--port", str(port)),
    ]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=quiet, stderr=quiet, start_new_session=True
    )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 240
    while True:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
            break
        except OSError:
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.2)
    yield address
    os.killpg(process.pid, 9)
    process.wait()


@pytest.fixture
def tracked(make_campaign, server):
    """A finished campaign with its report, delivered through the server; ids of its runs by name."""
    folder = make_campaign(seeds=(0, 1), arms=("grpo", "entropic"))
    write_page(load_campaign(folder), folder.report_path)
    assert Tracker(folder, server).finish() == []
    client = open_client(server)
    experiment = client.get_experiment_by_name("quickstart").experiment_id
    return experiment, {run.info.run_name: run.info.run_id for run in client.search_runs([experiment])}


def test_runs_are_found_compared_and_their_artifacts_shown(server, tracked, browser):
    experiment, runs = tracked
    assert set(runs) == {"quickstart", "grpo seed-0", "grpo seed-1", "entropic seed-0", "entropic seed-1"}
    text = "(document.body?.innerText ?? '')"

    # the table of runs: the campaign, and below it its runs once it is unfolded
    page = browser.open(f"{server}/#/experiments/{experiment}/runs")
    browser.wait(page, f'{text}.includes("5 matching runs")')
    row = "[...document.querySelectorAll('[role=gridcell]')].find((cell) => cell.querySelector('a')?.innerText === 'quickstart')"
    browser.wait(page, f"!!{row}")
    assert "seed-0" not in browser.evaluate(page, text)
    browser.evaluate(page, f"{row}.querySelector('button').click()")
    for name in runs:
        browser.wait(page, f"{text}.includes({json.dumps(name)})")

    # its search box: by a tag, and by a metric
    wanted = "tags.`entrostat.arm` = 'entropic' and metrics.`eval/pass_at_1` > 0.5"
    page = browser.open(f"{server}/#/experiments/{experiment}/runs?searchFilter={quote(wanted)}")
    browser.wait(page, f'{text}.includes("3 matching runs")')  # two and their parent

    # the comparison of two runs: names, parameters, metrics, and a duration that is one
    pair = [runs["grpo seed-0"], runs["entropic seed-0"]]
    page = browser.open(
        f"{server}/#/compare-runs?runs={quote(json.dumps(pair))}&experiments={quote(json.dumps([experiment]))}"
    )
    for shown in (
        "grpo seed-0",
        "entropic seed-0",
        "loops.entropy.actuator.kind",
        "sign_weights",
        "eval/pass_at_8",
    ):
        browser.wait(page, f"{text}.includes({json.dumps(shown)})")
    durations = re.search(r"Duration:\s+(\S+)\s+(\S+)", browser.evaluate(page, text))
    assert not any(each.startswith("-") for each in durations.groups())

    # the report among the parent's artifacts: drawn inside the frame that MLflow puts it in
    page = browser.open(
        f"{server}/#/experiments/{experiment}/runs/{runs['quickstart']}/artifacts/report/index.html"
    )
    drawn = "document.querySelectorAll('.plot.js-plotly-plot').length"
    report = browser.wait_in_frame(
        page, f"{drawn} > 0 && {drawn} === document.querySelectorAll('.plot').length"
    )
    assert "`" not in browser.evaluate(report, "document.querySelector('h1').innerText")


def test_what_a_server_has_is_read_back_through_it(server, tracked, make_campaign):
    _, runs = tracked
    both = fetch_runs(server, run_ids=[runs["quickstart"]])
    assert [run.name for run in both] == ["grpo seed 0", "grpo seed 1", "entropic seed 0", "entropic seed 1"]
    assert both[2].info.config["loops"]["entropy"]["law"]["kind"] == "pid"
    assert both[2].train.get("loop/entropy/u").size == 150
