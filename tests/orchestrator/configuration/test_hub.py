"""A hub that is silent is waited for once, and what was not checked for want of it is said."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import datasets
import huggingface_hub
import pytest
from huggingface_hub import constants

from orchestrator.configuration import hub
from orchestrator.configuration.checks import check_campaign
from orchestrator.configuration.hub import datasets_of, hub_notices, models_of, silence
from orchestrator.configuration.inputs import files_of, inputs_of
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError


@pytest.fixture(autouse=True)
def online(monkeypatch):
    """Before and after each test the hub has not been asked yet."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    silence.cache_clear()
    yield
    silence.cache_clear()


@pytest.fixture
def requests(monkeypatch):
    """What a hub on this machine, which knows no model, was asked for."""

    class Requests(list):
        status = 404

    asked = Requests()

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.append(self.path)
            self.send_response(asked.status)
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()

        def log_message(self, *_): ...

    with HTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield asked
        server.shutdown()


def campaign_on_the_hub(write_campaign):
    source = {"kind": "math_word", "dataset": "some/sums", "layout": "gsm8k"}
    here = {"task": {"kind": "arithmetic"}, "name": "here"}
    mixture = {"kind": "mixture", "tasks": [here, {"task": source, "name": "sums"}]}
    return read_campaign(
        write_campaign({"policy": {"source": "some/model"}, "task": mixture, "arms": [{"name": "grpo"}]})
    )


def test_a_hub_that_answers_is_asked_once(requests):
    assert silence() is silence() is None
    assert len(requests) == 1
    assert not constants.HF_HUB_OFFLINE


def test_where_nobody_listens_the_process_reads_the_cache_from_then_on(monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    assert "refused" in silence()
    assert constants.HF_HUB_OFFLINE
    assert datasets.config.HF_HUB_OFFLINE


def test_a_hub_that_takes_the_connection_and_says_nothing_is_waited_for_no_longer(monkeypatch):
    monkeypatch.setattr(hub, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert silence() is not None
    assert constants.HF_HUB_OFFLINE


def test_a_name_that_takes_for_ever_to_look_up_is_waited_for_no_longer(monkeypatch):
    monkeypatch.setattr(hub, "SECONDS", 0.2)
    gate = threading.Event()
    monkeypatch.setattr(huggingface_hub, "get_session", gate.wait)  # knows no limit of time
    assert silence() == "nothing within 0.2 s"
    gate.set()


def test_a_user_who_wants_no_hub_is_asked_for_none(requests, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert silence() == "HF_HUB_OFFLINE is set"
    assert not requests


def test_what_is_on_the_hub_is_found_in_every_part(write_campaign, requests):
    campaign = campaign_on_the_hub(write_campaign)
    config = campaign.arms[0].config
    assert models_of(config) == {"policy.source": "some/model"}
    assert datasets_of(config) == {"task.tasks.1.task": "some/sums"}
    assert hub.silence_of(config) is None
    assert requests


def test_for_what_is_here_the_hub_is_not_asked(write_campaign, requests):
    arms = read_campaign(write_campaign({"arms": [{"name": "grpo"}]})).arms
    assert hub.silence_of(arms[0].config) is None
    assert hub_notices(arms) == []
    assert not requests


def test_reading_a_campaign_of_a_silent_hub_waits_once_and_says_so(write_campaign, monkeypatch):
    tries = []

    def load(*_, **__):
        tries.append(constants.HF_HUB_OFFLINE)
        raise ConnectionError

    monkeypatch.setattr(hub, "_asked", lambda: "no route")
    monkeypatch.setattr(datasets, "load_dataset", load)
    campaign = campaign_on_the_hub(write_campaign)
    with pytest.raises(ConfigError, match="it is not in the cache, and the hub does not answer"):
        check_campaign(campaign)
    assert set(tries) == {True}  # no client of the hub waits again
    policy, task = hub_notices(campaign.arms)
    assert policy.startswith("policy.source: 'some/model' is on the hub, which was not asked (no route)")
    assert task.startswith("task.tasks.1.task: 'some/sums' is on the hub, which was not asked (no route)")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_model_that_the_hub_does_not_know_is_said(write_campaign, requests, monkeypatch, tmp_path, status):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    requests.status = status
    arms = campaign_on_the_hub(write_campaign).arms
    (notice,) = hub_notices(arms)
    assert notice.startswith(
        "policy.source: 'some/model' is not on the hub, or not for you; correct the name"
    )
    assert requests[-1] == "/api/models/some/model"
    reference = tmp_path / "models--some--model" / "refs" / "main"
    reference.parent.mkdir(parents=True)
    reference.write_text("abc")
    assert hub_notices(arms) == []
    monkeypatch.setattr(hub, "asked_commit", lambda _: "abc")
    assert hub_notices(arms) == []


def test_what_cannot_be_a_name_is_not_on_the_hub(write_campaign, requests):
    arms = read_campaign(write_campaign({"policy": {"source": "some/model/of"}, "arms": [{"name": "grpo"}]}))
    (notice,) = hub_notices(arms.arms)
    assert notice.startswith("policy.source: 'some/model/of' is not on the hub")


def test_a_hub_that_is_ill_says_nothing_of_a_name(write_campaign, requests):
    requests.status = 503
    (notice,) = hub_notices(campaign_on_the_hub(write_campaign).arms)
    assert notice.startswith("policy.source: 'some/model' is on the hub, which did not say (")
    assert "503" in notice


def test_the_base_of_adapters_that_are_here_is_on_the_hub(write_campaign, requests, tmp_path):
    adapters = tmp_path / "adapters"
    adapters.mkdir()
    (adapters / "adapter_config.json").write_text('{"base_model_name_or_path": "some/base"}')
    arms = read_campaign(
        write_campaign({"policy": {"source": str(adapters)}, "arms": [{"name": "grpo"}]})
    ).arms
    config = arms[0].config
    assert models_of(config) == {"policy.source (base)": "some/base"}
    assert not any("(base)" in label for label in files_of(config))
    assert not requests  # files can be looked at again for nothing
    (notice,) = hub_notices(arms)
    assert notice.startswith("policy.source (base): 'some/base' is not on the hub")
    inputs_of(config)
    assert requests[-1] == "/api/models/some/base"
