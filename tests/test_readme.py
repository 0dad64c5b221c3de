"""What the README says is so: its example runs, its commands exist, its tree is the tree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from typer.main import get_command

from orchestrator.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_example_runs_and_the_loop_arrives(capsys):
    (example,) = blocks("python")
    exec(compile(example, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 5
    first, last = (float(re.search(r"entropy (\S+) of", line)[1]) for line in (printed[0], printed[-1]))
    assert first > 0.9  # nats; the plant starts at 1
    assert abs(last - 0.5) < 0.01  # and is held at 0.5


def test_every_command_named_there_exists():
    known = set(get_command(app).commands)
    named = set(re.findall(r"^entrostat (\w+)", "\n".join(blocks("sh")), flags=re.MULTILINE))
    assert named
    assert named <= known
    assert known <= named, "a command that the README does not mention"


def test_every_make_target_named_there_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"^make ([a-z-]+)", "\n".join(blocks("sh")), flags=re.MULTILINE))
    assert {"run", "test"} <= named <= targets


def test_the_tree_is_current():
    done = subprocess.run([sys.executable, ROOT / "docs" / "tree.py", "--check"], check=False)
    assert done.returncode == 0, "run `make tree`"


def test_the_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target
