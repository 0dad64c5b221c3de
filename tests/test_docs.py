"""docs/methods.md and configs/method_zoo.yaml say what is in configs/methods, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.configuration.checks import check_campaign
from orchestrator.configuration.method_file import MARKS
from orchestrator.configuration.resolve import Campaign, read_campaign

ROOT = Path(__file__).parents[1]
METHODS = (ROOT / "docs" / "methods.md").read_text()
PRESETS = {
    file.stem: yaml.safe_load(file.read_text()) for file in (ROOT / "configs" / "methods").glob("*.yaml")
}

WORDS = {
    word: mark
    for mark, words in re.findall(
        r"^\| \*\*(\w)\*\* \| (.*?)(?::| in |$)", METHODS.split("## The table")[0], flags=re.MULTILINE
    )
    for word in re.findall(r"`(\w+)`", words)
}
"""How a preset says where a constant was read, and the letter of the table."""


def rows() -> dict[str, list[str]]:
    """The cells of every preset's row of the big table."""
    table = METHODS.split("## The table")[1].split("\n## ")[0]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines() if line.startswith("| `")]
    return {row[0].strip(" `"): row for row in cells}


@pytest.fixture(scope="module")
def zoo() -> Campaign:
    return read_campaign(ROOT / "configs" / "method_zoo.yaml")


def test_every_preset_has_a_row_and_every_row_a_preset():
    named = re.findall(
        r"^\| `(\w+)` \|", METHODS.split("## The table")[1].split("\n## ")[0], flags=re.MULTILINE
    )
    assert sorted(named) == sorted(PRESETS)  # and so none is there twice


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_row_names_the_parts_of_its_preset(name):
    _, _, parts, _, constants, differences = rows()[name]
    preset = PRESETS[name]
    learner = preset.get("learner", {})
    kinds = [learner[part]["kind"] for part in ("objective", "advantage") if part in learner]
    for loop in preset.get("loops", {}).values():
        kinds += [loop["law"]["kind"], loop["actuator"]["kind"]]
        kinds += [loop["reference"]["kind"]] if "reference" in loop else ["none"]
        assert loop.get("sensor", "entropy") in [chain.split(" →")[0].strip() for chain in parts.split(";")]
    for kind in kinds:
        assert kind in parts, kind
    assert re.search(r"\*\*[cpdsuo]\*\*", constants), "says where its constants come from"
    assert differences.strip()


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_constant_of_a_preset_says_where_it_was_read(name):
    """Counted in the file itself, without the code that reads it."""
    sections = {
        key: PRESETS[name].get(key, {}) for key in ("loops", "learner", "rollout", "policy", "guardrails")
    }
    said = PRESETS[name].get("constants", {})
    assert sorted(said) == sorted(numbers(sections))
    for path, constant in said.items():
        assert constant["read"] in WORDS, path
        assert constant.get("where") or constant["read"] in ("memory", "ours"), path


@pytest.mark.parametrize("name", sorted(name for name, preset in PRESETS.items() if preset.get("constants")))
def test_a_row_marks_its_constants_as_the_preset_does(name):
    said = PRESETS[name]["constants"].items()
    marks = {WORDS[each["read"]] for path, each in said if not path.endswith(".gains_range")}
    assert set(re.findall(r"\*\*([cpdsuo])\*\*", rows()[name][4])) == marks


def test_the_gains_range_is_ours_everywhere():
    for preset in PRESETS.values():
        for path, constant in preset.get("constants", {}).items():
            assert constant["read"] == "ours" or not path.endswith(".gains_range")


def test_the_words_for_where_a_constant_was_read_are_those_of_the_code():
    assert WORDS == MARKS


def numbers(node: dict[str, Any], above: str = "") -> list[str]:
    """Paths of what is a number, or a list with one; a bool is a choice."""
    found = []
    for key, value in node.items():
        if isinstance(value, dict):
            found += numbers(value, f"{above}{key}.")
        elif any(type(each) in (int, float) for each in (value if isinstance(value, list) else [value])):
            found.append(f"{above}{key}")
    return found


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_is_named_as_its_file_and_says_what_it_is_and_where_from(name):
    preset = PRESETS[name]
    assert preset["method"] == name
    assert preset["summary"].endswith(".")
    assert len(preset["summary"]) <= 110
    assert preset["source"]
    assert preset["notes"]


def test_every_file_that_is_named_exists():
    for path in re.findall(r"`((?:controllers|policies|orchestrator|configs|docs)/[\w/.]+)`", METHODS):
        assert (ROOT / path).exists(), path


def test_presets_named_in_the_text_exist():
    law_table = METHODS.split("## What control theory says")[1].split("\n## ")[0]
    for row in law_table.splitlines():
        if row.startswith("| ") and "`" in row:
            for name in re.findall(r"`(\w+)`", row.split("|")[2]):
                assert name in PRESETS, name


def test_a_method_that_needs_several_steps_says_so():
    """Exactly the presets that an on-policy learner refuses, or that are plain GRPO there, are off-policy."""
    by_note = {
        name
        for name, preset in PRESETS.items()
        if "Acts only off-policy" in " ".join(preset["notes"].split())
    }
    assert by_note == {name for name, row in rows().items() if "Off-policy" in row[5]}


def test_the_zoo_has_every_preset_and_a_control_for_each_number_of_steps(zoo):
    check_campaign(zoo)
    assert {arm.method for arm in zoo.arms} == set(PRESETS)
    controls = [arm.config.learner.steps_per_batch for arm in zoo.arms if arm.method == "grpo"]
    assert sorted(controls) == sorted({arm.config.learner.steps_per_batch for arm in zoo.arms}) == [1, 4]
    assert {arm.config.learner.iterations for arm in zoo.arms} == {60}
    assert zoo.config.seeds == (0, 1)


def test_arms_of_the_zoo_share_everything_that_a_method_does_not_set(zoo):
    def shared(plain: dict[str, Any]) -> dict[str, Any]:
        ours = ("iterations", "prompts_per_iteration", "group_size", "learning_rate", "warmup_iterations")
        return {
            "task": plain["task"],
            "evaluation": plain["evaluation"],
            **{k: plain["learner"][k] for k in ours},
        }

    assert all(shared(arm.plain) == shared(zoo.arms[0].plain) for arm in zoo.arms)


def test_the_way_from_a_command_to_a_trained_seed_is_a_chain():
    """Each file is reached from one of those before it, and a newcomer enters at most sixteen."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    way = re.findall(
        r"^\| \d+ \| `([\w/]+\.py)`", page.partition("<!-- way -->")[2].partition("<!-- /way -->")[0], re.M
    )
    assert 10 <= len(way) <= 16
    for place, file in enumerate(way[1:], start=1):
        module = file.removesuffix(".py").replace("/", ".")
        # A process is started by the name of its module, an object's method by what handed it over.
        before = " ".join((ROOT / each).read_text() for each in way[:place])
        assert module in before, f"none of the files before it names {module}"
