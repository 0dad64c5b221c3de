"""What the README and the pages beside it say is so: examples run, commands exist, the tree is the tree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from orchestrator.cli import app
from orchestrator.configuration.resolve import method_names, read_method

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = (ROOT / "docs" / "commands.md").read_text()
KNOWN = get_command(app).commands


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def shell(text: str) -> str:
    return "\n".join(blocks(text, "sh"))


def named(text: str, program: str) -> set[str]:
    return set(re.findall(rf"^{program} ([a-z][a-z-]*)", shell(text), flags=re.MULTILINE))


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def test_the_example_runs_and_the_loop_arrives(capsys):
    (example,) = blocks(README, "python")
    exec(compile(example, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 5
    first, last = (float(re.search(r"entropy (\S+) of", line)[1]) for line in (printed[0], printed[-1]))
    assert first > 0.9  # nats; the plant starts at 1
    assert abs(last - 0.5) < 0.01  # and is held at 0.5


def test_the_four_parts_of_the_readme_are_those_of_the_preset():
    four = yaml.safe_load(blocks(README, "yaml")[0])["loops"]["entropy"]
    preset = read_method("entropic").loops["entropy"]
    assert four.keys() - preset.keys() <= {"sensor"}
    for part in ("law", "actuator", "reference"):
        assert four[part].items() <= preset[part].items(), part


def test_the_page_of_commands_has_every_command_and_no_other():
    assert named(COMMANDS, "entrostat") == set(KNOWN)


def test_the_readme_names_ten_commands_that_exist():
    assert named(README, "entrostat") <= set(KNOWN)
    assert len(named(README, "entrostat")) == 10


@pytest.mark.parametrize("text", [README, COMMANDS], ids=["README", "commands"])
def test_every_option_named_there_exists(text):
    for line in shell(text).splitlines():
        words = line.partition("#")[0].split()
        if words[:1] != ["entrostat"] or words[1] not in KNOWN:
            continue
        options = {option for parameter in KNOWN[words[1]].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", line.partition("#")[0])) <= options, line


def test_every_make_target_named_there_exists_and_the_page_of_commands_has_those_that_help_has():
    assert {"run", "test"} <= named(README, "make") <= targets()
    helped = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert (
        helped - {"help", "install", "install-vllm", "install-trainers", "format", "clean"}
        <= named(COMMANDS, "make")
        <= targets()
    )


def test_the_number_of_methods_is_that_of_the_presets():
    (number,) = re.findall(r"\*\*(\d+) published", README)
    assert int(number) == len(method_names())


def test_the_readme_stays_short():
    assert len(README.splitlines()) <= 170


def test_its_picture_is_small():
    (picture,) = re.findall(r"!\[[^\]]+\]\(([^)]+\.png)\)", README)
    assert (ROOT / picture).stat().st_size < 400_000


def test_the_tree_is_current():
    done = subprocess.run([sys.executable, ROOT / "docs" / "tree.py", "--check"], check=False)
    assert done.returncode == 0, "run `make tree`"
