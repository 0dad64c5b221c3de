"""Every shipped file, malformed in thousands of ways: valid still, or refused in one message that names it."""

from __future__ import annotations

import shutil
from pathlib import Path

import datasets
import huggingface_hub
import pytest

import orchestrator.commands.design as design
import orchestrator.commands.simulate as simulate
from tests.orchestrator.malformed import mutants, verdict

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.yaml"))
FAST, SLOW = 4, 40
"""Mutants of each file, in the fast test and in the slow one."""

PLANT = "control/bonus_plant.yaml"
SHORT = ["--seeds", "2", "--iterations", "5"]
AROUND_A_METHOD = """\
name: around
task: {kind: arithmetic}
learner: {iterations: 5, minibatches: 2}
rollout: {max_tokens: 8}
arms: [{name: a, method: mutant.yaml}]
"""


def test_there_are_as_many_as_promised():
    assert len(FILES) * FAST >= 200
    assert len(FILES) * SLOW >= 2000
    first, again = (list(mutants(CONFIGS / PLANT, 20)) for _ in range(2))
    assert first == again
    assert len({each.content for each in first}) > 15


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    """A copy of what is shipped, in which a malformed file stands beside the others."""
    folder = tmp_path_factory.mktemp("malformed") / "configs"
    shutil.copytree(CONFIGS, folder)
    return folder


@pytest.fixture
def beside(configs, monkeypatch):
    """The folder as working directory; what comes after a file has been read is left out where it is slow."""
    monkeypatch.chdir(configs)
    for library in (huggingface_hub.constants, datasets.config):  # which have read the environment already
        monkeypatch.setattr(library, "HF_HUB_OFFLINE", True)
    for module in (design, simulate):
        monkeypatch.setattr(module, "log_run", lambda *_, **__: "not tracked")
    monkeypatch.setattr(simulate, "prediction_picture", lambda *_, **__: b"")
    monkeypatch.setattr(design, "design_pictures", lambda *_, **__: {})
    return configs


def commands(file: str, mutant: Path, index: int) -> list[str]:
    """The command that a malformed file is given to, by what the file is."""
    if file.startswith("studies/"):
        return ["tune", str(mutant), "--best"]
    if file == PLANT and index % 2:
        return ["design", str(mutant), "--settling", "30"]
    if file == PLANT:
        return ["simulate", "control/designed_pi.yaml", "--plant", str(mutant), *SHORT]
    if not (file.startswith("methods/") or "designed" in file):
        return ["validate", str(mutant)]
    if index % 2:
        return ["simulate", str(mutant), "--plant", PLANT, *SHORT]
    around = mutant.with_name("around.yaml")
    around.write_text(AROUND_A_METHOD)
    return ["validate", str(around)]


def faults(file: str, folder: Path, number: int, first: int) -> list[str]:
    found = []
    for index, mutant in enumerate(mutants(folder / file, number, first), start=first):
        path = (folder / file).with_name("mutant.yaml")
        path.write_bytes(mutant.content)
        fault = verdict(commands(file, path, index), path.name)
        found += [f"{mutant.how}: {fault}"] if fault else []
    path.unlink()
    return found


@pytest.mark.parametrize("file", FILES)
def test_a_malformed_file_is_refused_in_one_message_or_valid(beside, file):
    assert faults(file, beside, FAST, 0) == []


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_thousands_of_malformed_files_are_refused_or_valid(beside, file):
    assert faults(file, beside, SLOW - FAST, FAST) == []
