"""The rules of the house: imports run one way, and what is shipped loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("controllers", "tasks", "policies", "orchestrator", "entrostat")
ALLOWED = {
    "controllers": {"controllers"},
    "tasks": {"tasks"},
    "policies": {"policies"},
    "orchestrator": set(OURS) - {"entrostat"},
    "entrostat": set(OURS),
}
FLOORS = (
    {"deferred", "errors", "masking"},
    {"storage"},
    {"configuration", "tracking", "execution", "collected_signals", "provenance"},
    {"training", "integrations"},
    {"engineering", "comparison", "campaign", "continuing", "changed_inputs"},
    {"tuning"},
    {"report"},
    {"commands"},
    {"cli", "options"},
)
"""Floors of `orchestrator`, from the ground up: a floor imports from itself and from those below it."""
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


def module_name(file: Path) -> str:
    name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {module_name(file): file for package in OURS for file in sources(package)}


def imported_modules(file: Path) -> set[str]:
    """Modules of ours that a file names, at its top or within a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & MODULES.keys()


def rooms(package: str) -> dict[str, set[str]]:
    """The files and folders of a package, each with those of its neighbours that it imports from."""
    found: dict[str, set[str]] = {}
    for module, file in MODULES.items():
        if not module.startswith(f"{package}."):
            continue
        own = module.removeprefix(f"{package}.").split(".")[0]
        others = {
            name.removeprefix(f"{package}.").split(".")[0]
            for name in imported_modules(file)
            if name.startswith(f"{package}.")
        }
        found[own] = found.get(own, set()) | others - {own}
    return found


def test_every_room_of_the_orchestrator_has_a_floor():
    assert set().union(*FLOORS) == rooms("orchestrator").keys()


@pytest.mark.parametrize("height", range(len(FLOORS)))
def test_no_floor_imports_from_one_above_it(height):
    below = set().union(*FLOORS[: height + 1])
    for room in sorted(FLOORS[height]):
        assert rooms("orchestrator")[room] <= below, room


@pytest.mark.parametrize("package", [name for name, file in MODULES.items() if file.name == "__init__.py"])
def test_rooms_import_each_other_in_no_circle(package):
    order = TopologicalSorter(rooms(package))
    order.prepare()  # raises CycleError, which names the circle


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


HEAVY = {"torch._C", "transformers", "lightning", "mlflow", "control"}


def modules_after(code: str) -> set[str]:
    code = f"import atexit, sys; atexit.register(lambda: print(*sys.modules)); {code}"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(ran.stdout.splitlines()[-1].split())


def test_the_command_line_imports_nothing_heavy():
    modules = modules_after("import orchestrator.cli")
    assert "orchestrator.cli" in modules
    assert not (HEAVY | {"torch", "pydantic"}) & modules


@pytest.mark.parametrize(
    "arguments", [["validate", "configs/quickstart.yaml"], ["list", "actuators"], ["schema", "method"]]
)
def test_what_only_looks_at_settings_loads_no_framework(arguments):
    modules = modules_after(f"sys.argv[1:] = {arguments}; from orchestrator.cli import main; main()")
    assert "policies.actuators.bonus" in modules
    assert not HEAVY & modules
