"""A run's policy as a folder for the Hugging Face hub: whole, with a card, and uploaded only when asked for."""

from __future__ import annotations

import shutil
from dataclasses import replace

import huggingface_hub
import pytest
from huggingface_hub import ModelCard, constants
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.commands.clear_errors import EXIT_BAD_INPUT
from orchestrator.storage.best_file import Best, write_best
from orchestrator.storage.run_folder import Status
from policies.model.intact import seal
from tests.orchestrator.commands.hub_server import TOKEN, HubServer

NAME = "quickstart/grpo/0"


@pytest.fixture
def run(make_campaign, tmp_path, monkeypatch):
    """The folder of a run that has kept a policy, at its end and at its best."""
    monkeypatch.chdir(tmp_path)
    run = make_campaign(seeds=(0,), arms=("grpo", "aer"), description="Sums | <b>bold</b>\n# no heading").run(
        "grpo", 0
    )
    for path in (run.policy_path, run.best_path):
        path.mkdir()
        (path / "config.json").write_text('{"model_type": "llama"}')
        (path / "model.safetensors").write_bytes(path.name.encode())
        seal(path)
    write_best(Best(metric="eval/pass_at_1", value=0.91, iteration=100), run.best_path)
    return run


@pytest.fixture
def hub(monkeypatch):
    """What a stand-in for the hub was asked for, by method."""
    asked = {}
    for method in ("create_repo", "upload_folder"):
        monkeypatch.setattr(
            huggingface_hub.HfApi,
            method,
            lambda self, *given, _method=method, **options: asked.update({_method: (given, options)}),
        )
    return asked


def publish(*arguments):
    return CliRunner().invoke(app, ["publish", *arguments])


def evaluation_of(run, name, step):
    return next(r.metrics[name] for r in run.records() if r.kind == "eval" and r.step == step)


def test_the_folder_is_the_policy_with_a_card_and_curves(run, tmp_path, hub):
    result = publish(NAME, "--output", "out")
    assert result.exit_code == 0, result.output
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {
        "config.json", "model.safetensors", "SHA256SUMS", "README.md", "curves.png",
    }  # fmt: skip
    assert (out / "model.safetensors").read_bytes() == b"policy"
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert not hub  # nothing leaves this machine by itself

    card = ModelCard.load(out / "README.md")
    assert card.data.library_name == "transformers"
    assert {"entrostat", "grpo"} <= set(card.data.tags)
    measured = {each.metric_type: each.metric_value for each in card.data.eval_results}
    assert measured["pass_at_1"] == evaluation_of(run, "eval/pass_at_1", 150)
    first, last = (evaluation_of(run, "eval/pass_at_8", step) for step in (0, 150))
    assert f"| eval/pass\\_at\\_8 | {first:.4g} | {last:.4g} |" in card.text
    for fact in ("d9a3530c0ffee", "| version of torch | 2.13.0 |", "iterations: 150"):
        assert fact in card.text


def test_texts_of_the_user_are_no_markup(run, tmp_path, hub):
    publish(NAME, "--output", "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "Sums \\| \\<b\\>bold\\</b\\> \\# no heading" in text
    assert "<b>" not in text
    assert "\n# no heading" not in text


def test_no_backticks_end_the_settings_and_no_credential_is_in_them(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PLANTED_TOKEN", "planted-0123456789")
    info = run.read_info()
    task = {"kind": "own", "path": "https://me:planted-0123456789@host/data", "prompt": "```\n<script>"}
    run.write_info(replace(info, config=info.config | {"task": task}))
    assert publish(NAME, "--output", "out").exit_code == 0
    text = (tmp_path / "out" / "README.md").read_text()
    assert "planted-0123456789" not in text
    settings = text.split("## Settings\n\n")[1].split("\n## Provenance")[0].strip()
    assert settings.startswith("````yaml\n")
    assert settings.endswith("\n````")


def test_the_best_policy_is_shown_by_its_own_evaluation(run, tmp_path):
    assert publish(NAME, "--best", "--output", "out").exit_code == 0
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == b"best"
    assert not (tmp_path / "out" / "evaluation.json").exists()
    card = ModelCard.load(tmp_path / "out" / "README.md")
    measured = {each.metric_type: each.metric_value for each in card.data.eval_results}
    assert measured["pass_at_1"] == evaluation_of(run, "eval/pass_at_1", 100)
    assert "after 100 iterations" in card.text


@pytest.mark.parametrize(
    ("source", "base"),
    [
        ("Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B"),
        ("here/model", None),
        ("builtin:tiny", None),
        ("/a/b", None),
    ],
)
def test_only_a_model_that_others_can_find_is_named_as_the_base(run, tmp_path, source, base):
    (tmp_path / "here" / "model").mkdir(parents=True)
    info = run.read_info()
    run.write_info(replace(info, config=info.config | {"policy": {"source": source}}))
    assert publish(NAME, "--output", "out").exit_code == 0
    assert ModelCard.load(tmp_path / "out" / "README.md").data.base_model == base


@pytest.fixture
def hub_server(monkeypatch):
    """A hub on this machine, in the place of the real one."""
    server = HubServer()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # large files go by Git LFS
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield server
    server.stop()


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the hub's client about itself
def test_a_push_creates_a_private_repository_and_sends_the_folder(run, tmp_path, hub_server):
    result = publish(str(run.path), "--output", "out", "--push", "me/sums")
    assert result.exit_code == 0, result.output
    repository = hub_server.repositories["me/sums"]
    assert repository["visibility"] == "private"
    sent = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert repository["files"] == sent
    assert {"config.json", "model.safetensors", "README.md", "curves.png"} <= sent.keys()
    assert repository["message"].endswith("after 150 iterations")
    assert "place = 'me/sums'" in sent["README.md"].decode()


def no_token(hub_server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_another")
    return "401"


def no_right(hub_server, monkeypatch):
    hub_server.refuses = True
    return "403"


def no_hub(hub_server, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    return "refused"


@pytest.mark.parametrize("fault", [no_token, no_right, no_hub], ids=lambda fault: fault.__name__)
def test_a_refused_push_leaves_the_folder_and_says_how_to_send_it(
    run, tmp_path, hub_server, monkeypatch, fault
):
    said = fault(hub_server, monkeypatch)
    result = publish(NAME, "--output", "out", "--push", "me/sums")
    assert result.exit_code == EXIT_BAD_INPUT
    assert result.stderr.startswith("error: --push me/sums: ")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert f"hf upload me/sums {tmp_path / 'out'}" in result.stderr
    assert (tmp_path / "out" / "README.md").exists()


def unknown_run(run):
    return ["quickstart/grpo/7"], "no run 'quickstart/grpo/7' in "


def no_policy(run):
    shutil.rmtree(run.policy_path)
    run.write_status(Status(status="stopped", iteration=3))
    return [NAME], "has no policy, since it is stopped and not done; add --best"


def no_best(run):
    return ["quickstart/aer/0", "--best"], "has kept no best policy"


def adapters_alone(run):
    (run.policy_path / "config.json").unlink()
    (run.policy_path / "adapter_config.json").write_text("{}")
    return [NAME], "holds adapters alone; train with policy.lora.merge: true"


def changed_weights(run):
    (run.policy_path / "model.safetensors").write_bytes(b"other")
    return [NAME], "model.safetensors is not what was written"


def full_folder(run):
    (run.path / "out").mkdir()
    (run.path / "out" / "mine.txt").write_text("mine")
    return [NAME, "--output", str(run.path / "out")], "is there and not an empty folder; name another"


def no_repository(run):
    return [NAME, "--push", "a/b/c"], "--push a/b/c: "


@pytest.mark.parametrize(
    "fault",
    [unknown_run, no_policy, no_best, adapters_alone, changed_weights, full_folder, no_repository],
    ids=lambda fault: fault.__name__,
)
def test_bad_input_is_one_line_and_writes_nothing(run, tmp_path, hub, fault):
    arguments, said = fault(run)
    result = publish("--output", str(tmp_path / "out"), *arguments)
    assert result.exit_code == EXIT_BAD_INPUT, result.output
    assert said in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert not hub
