"""The rules of the house: imports run one way, and what is shipped loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("controllers", "tasks", "policies", "orchestrator")
ALLOWED = {
    "controllers": {"controllers"},
    "tasks": {"tasks"},
    "policies": {"policies"},
    "orchestrator": set(OURS),
}
BANNED = {"controllers": {"torch", "transformers", "lightning", "mlflow"}, "tasks": {"torch", "transformers"}}


def imported_packages(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", OURS)
def test_imports_run_one_way(package):
    for file in sources(package):
        imported = imported_packages(file)
        assert imported & set(OURS) <= ALLOWED[package], file
        assert not imported & BANNED.get(package, set()), file


@pytest.mark.parametrize("package", OURS)
def test_files_stay_readable(package):
    for file in sources(package):
        assert len(file.read_text().splitlines()) <= 320, f"{file} holds more than one idea"


@pytest.mark.parametrize("package", OURS)
def test_every_public_name_has_a_docstring(package):
    for file in sources(package):
        tree = ast.parse(file.read_text())
        if file.name != "__init__.py" or tree.body:
            assert ast.get_docstring(tree), f"{file} does not say what it is for"
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{file}: {node.name}"


def test_no_package_is_forgotten_in_the_distribution():
    import tomllib

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        str(init.parent.relative_to(ROOT)).replace("/", ".")
        for package in OURS
        for init in (ROOT / package).rglob("__init__.py")
    }
    assert set(declared) == found


def test_the_command_line_imports_nothing_heavy():
    code = "import sys, orchestrator.cli; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert "orchestrator.cli" in modules
    assert not {"torch", "transformers", "lightning", "mlflow", "control", "pydantic"} & set(modules)
