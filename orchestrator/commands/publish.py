"""The command `entrostat publish`: a folder for the Hugging Face hub, and on request its upload."""

from __future__ import annotations

import shutil
from pathlib import Path

from rich.console import Console

from orchestrator.commands.outputs import say
from orchestrator.errors import ConfigError, did_you_mean, named, refusing
from orchestrator.report.card_figure import learning_curves
from orchestrator.report.model_card import CURVES, Card, model_card
from orchestrator.storage.best_file import FILE as BEST_FILE
from orchestrator.storage.files import replacing_folder
from orchestrator.storage.outputs import naming_output
from orchestrator.storage.run_data import load_runs
from orchestrator.storage.run_folder import CampaignFolder, CampaignInfo
from orchestrator.storage.stored_policy import (
    StoredPolicy,
    holds_adapters,
    named_run,
    names_of_runs,
    stored_policy,
)
from policies.model.intact import damage


def run_publish(
    name: str, *, folder: Path, output: Path, best: bool, push: str | None, console: Console
) -> None:
    """Write the policy of a run with its card into a folder, and upload that if a repository is named.

    Args:
        name: of the run, or the path of its folder.
        folder: where runs are kept.
        output: the folder to write, which must not hold anything yet.
        best: whether the best policy is wanted rather than the last.
        push: repository of the hub; None uploads nothing.
        console: where the outcome is printed.

    Raises:
        ConfigError: there is no whole policy, the folder cannot be written, or the hub refuses.
    """
    if push is not None:
        _require_repository(push)
    policy = _whole_policy(name, folder, best)
    output = output.resolve()
    _require_empty(output)
    card = _write(policy, output, push or output.name)
    say(console, f"wrote the policy of {card.title}, after {card.iteration} iterations, to {output}")
    if push is not None:
        _upload(output, push, f"{card.title}, after {card.iteration} iterations")
        say(console, f"uploaded to {push}; a repository that was not there before is private")


def _whole_policy(name: str, folder: Path, best: bool) -> StoredPolicy:
    run = named_run(name, folder)
    if run is None:
        raise ConfigError(
            f"no run {name!r} in {named(folder.resolve())}; {did_you_mean(name, names_of_runs(folder))}"
        )
    policy = stored_policy(run, best=best)
    if holds_adapters(policy.path):
        raise ConfigError(
            f"{named(policy.path)}: holds adapters alone; train with policy.lora.merge: true, which keeps a whole policy"
        )
    if (broken := damage(policy.path)) is not None:
        raise ConfigError(f"{named(policy.path)}: {broken}; restore it from a copy")
    return policy


def _require_empty(output: Path) -> None:
    with naming_output(output, "--output"):
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise ConfigError(f"--output {named(output)}: is there and not an empty folder; name another")


def _write(policy: StoredPolicy, output: Path, place: str) -> Card:
    (records,) = load_runs([policy.run])
    campaign = CampaignFolder(policy.run.path.parents[1])
    info = campaign.read_info() if campaign.exists() else CampaignInfo(name=records.info.campaign)
    curves = learning_curves(records)
    card = Card(policy=policy, run=records, campaign=info, place=place, with_curves=curves is not None)
    with naming_output(output, "--output"), replacing_folder(output) as unfinished:
        without = shutil.ignore_patterns(BEST_FILE)
        shutil.copytree(policy.path, unfinished, ignore=without, dirs_exist_ok=True)
        (unfinished / "README.md").write_text(model_card(card), encoding="utf-8")
        if curves is not None:
            (unfinished / CURVES).write_bytes(curves)
    return card


def _require_repository(name: str) -> None:
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    with refusing(f"--push {name}", "name a repository as USER/NAME"):
        validate_repo_id(name)


def _upload(output: Path, repository: str, message: str) -> None:
    from huggingface_hub import HfApi

    hub = HfApi()
    cure = (
        f"see that `hf auth whoami` may write there; then `hf upload {repository} {output}` sends the folder"
    )
    with refusing(f"--push {repository}", cure):
        hub.create_repo(repository, private=True, exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=output, commit_message=message)
