"""Code of a user's own as inputs of a run: every file of it, by labels that are the same wherever its folder lies."""

from __future__ import annotations

import pytest
import yaml

from orchestrator.campaign import prepare
from orchestrator.configuration.checks import check_campaign
from orchestrator.configuration.inputs import inputs_of
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError

TASK = """
from dataclasses import dataclass, field
from entrostat import Problem, Task

@dataclass(frozen=True, kw_only=True)
class Mine(Task):
    \"\"\"Says yes.\"\"\"
    digits: list[int] = field(default_factory=list)
    def problem(self, split, seed, index): return Problem(prompt=f"{index % 9}", answer="y", domain="all", difficulty=1.0)
    def grade(self, problem, response): return float(response == "y")
    def alphabet(self): return "0123456789y"
    def demonstrate(self, problem, *_): return "y"
"""


@pytest.fixture
def campaign(tmp_path, monkeypatch):
    """A campaign with a reward that imports a package with a subpackage, in a folder beside the runs."""
    folder = tmp_path / "mine"
    (folder / "helpers" / "deep").mkdir(parents=True)
    (folder / "rewards.py").write_text("import helpers\ndef good(response): return 1.0\n")
    (folder / "helpers" / "__init__.py").write_text("A = 1\n")
    (folder / "helpers" / "deep" / "__init__.py").write_text("B = 1\n")
    (folder / "tasks.py").write_text(TASK)
    monkeypatch.chdir(tmp_path)

    def write(**changed):
        content = {
            "name": "own",
            "task": {"kind": "arithmetic", "num_digits": 1, "operations": ["+"], "reward": "rewards.py:good"},
            "learner": {"iterations": 4, "prompts_per_iteration": 2, "group_size": 2},
            "evaluation": {"every": 2, "num_problems": 4, "num_samples": 2, "pass_at": [2]},
            "arms": [{"name": "a"}],
        }
        path = folder / "campaign.yaml"
        path.write_text(yaml.safe_dump(content | changed))
        return path

    return write


def labels_of(path):
    return set(inputs_of(read_campaign(path).arms[0].config))


def test_files_of_one_name_are_inputs_each(campaign):
    assert labels_of(campaign()) == {
        "task.reward.0 (rewards.py)",
        "task.reward.0 (helpers/__init__.py)",
        "task.reward.0 (helpers/deep/__init__.py)",
    }


@pytest.mark.parametrize("helper", ["helpers/__init__.py", "helpers/deep/__init__.py"])
def test_a_changed_helper_is_refused(campaign, tmp_path, helper):
    path = campaign()
    prepare(read_campaign(path))
    (tmp_path / "mine" / helper).write_text("A = 2\n")
    with pytest.raises(ConfigError, match=rf"read other inputs: task.reward.0 \({helper}\)"):
        prepare(read_campaign(path))


def test_a_moved_folder_is_the_same_run(campaign, tmp_path):
    path = campaign()
    prepare(read_campaign(path))
    (tmp_path / "mine").rename(tmp_path / "moved")
    moved = tmp_path / "moved" / path.name
    folder = prepare(read_campaign(moved))
    assert "moved/rewards.py:good" in str(folder.run("a", 0).read_info().config)
    (tmp_path / "moved" / "rewards.py").write_text("def good(response): return 0.5\n")
    with pytest.raises(ConfigError, match="read other inputs"):
        prepare(read_campaign(moved))


def test_tasks_of_phases_and_members_of_their_mixtures_are_inputs(campaign):
    members = [{"task": {"kind": "tasks.py:Mine"}}, {"task": {"kind": "arithmetic"}}]
    phases = [{"start": 2, "task": {"kind": "mixture", "tasks": members}}]
    task = {"kind": "arithmetic", "num_digits": 1, "operations": ["+"]}
    assert labels_of(campaign(task=task, phases=phases)) == {"phases.0.task.tasks.0.task (tasks.py)"}
    phases = [{"start": 2, "task": {"kind": "tasks.py:Mine"}}]
    assert labels_of(campaign(task=task, phases=phases)) == {"phases.0.task (tasks.py)"}


def test_a_rewarded_task_that_cannot_be_a_key_is_checked(campaign):
    check_campaign(
        read_campaign(campaign(task={"kind": "tasks.py:Mine", "digits": [1], "reward": "rewards.py:good"}))
    )
