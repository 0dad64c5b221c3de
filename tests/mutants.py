"""``python -m tests.mutants``: which small faults in the source no test notices.

A mutation changes one operator, comparison, constant, connective or statement.  It is made in a copy of the
tree, and the tests of its module run there: those that import the module, then those of the folder that
mirrors its package.  A mutation that none of them fails at in time has survived.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import importlib
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.mutations import Mutation, mutations

ROOT = Path(__file__).parents[1]
OURS = ("controllers", "policies", "tasks", "orchestrator", "tests")
PACKAGES = (
    "orchestrator/comparison",
    "orchestrator/execution",
    "orchestrator/report",
    "orchestrator/storage",
    "orchestrator/tracking",
    "orchestrator/tuning",
    "policies/rollouts",
)
IMPORTED_ONCE = (
    *("control", "datasets", "lightning", "mlflow", "omegaconf", "optuna", "pandas", "peft", "plotly"),
    *("pydantic", "scipy.stats", "torch", "transformers", "typer"),
)
"""Others' packages that tests import: doing so in every process would take most of the time."""
PYTEST = (
    *("-q", "-m", "not slow and not soak", "-p", "no:cacheprovider", "--timeout=60"),
    *("--hypothesis-seed=0", "-W", "ignore::pytest.PytestAssertRewriteWarning"),
)


@functools.cache
def imported(root: Path, file: Path) -> frozenset[str]:
    """Names of our modules that a file imports from, those behind the names of a package among them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in OURS:
            names = {alias.name for alias in node.names}
            found |= {node.module, *(f"{node.module}.{name}" for name in names)}
            found |= set(_behind(root, node.module, names))
    return frozenset(found)


def _behind(root: Path, package: str, names: set[str]) -> Iterator[str]:
    """Modules that a package takes some names from."""
    init = root.joinpath(*package.split("."), "__init__.py")
    for node in ast.parse(init.read_bytes()).body if init.exists() else []:
        if isinstance(node, ast.ImportFrom) and names & {alias.asname or alias.name for alias in node.names}:
            yield node.module or package


def covering(root: Path, path: str) -> list[list[str]]:
    """Test files for a source file, in stages: those of the mirrored folder, and of its package, that
    import it; others of these; those elsewhere that import it."""
    module = path.removesuffix(".py").replace("/", ".")
    folder = (root / "tests" / path).parent
    direct = {file for file in (root / "tests").rglob("test_*.py") if module in imported(root, file)}
    mirrored = {*folder.glob("test_*.py"), *folder.parent.glob(f"test_{folder.name}.py")}
    stages = (direct & mirrored, mirrored - direct, direct - mirrored)
    return [sorted(str(file.relative_to(root)) for file in stage) for stage in stages]


def copy_tree(target: Path) -> None:
    """All files that git knows or does not ignore."""
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def fails(
    root: Path, stages: Sequence[Sequence[str]], log: Path, *extra: str, seconds: float | None = None
) -> bool:
    """Whether one of some tests fails in a copy of the tree, within a time."""
    process = multiprocessing.get_context("fork").Process(target=_run_tests, args=(root, stages, log, extra))
    process.start()
    process.join(seconds)
    failed = bool(process.exitcode)
    assert process.pid is not None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # it, if it takes too long, and what the tests have started
    process.join()
    return failed


def _run_tests(root: Path, stages: Sequence[Sequence[str]], log: Path, extra: Sequence[str]) -> None:
    """In a process of its own, which sees the copy and not the checkout."""
    os.setsid()
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), sys.stdout.fileno())
    os.dup2(sys.stdout.fileno(), sys.stderr.fileno())
    os.chdir(root)
    os.environ["PYTHONPATH"] = str(root)
    sys.path[:] = [str(root), *(entry for entry in sys.path if Path(entry).resolve() != ROOT)]
    for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
        del sys.modules[name]
    import pytest

    for tests in filter(None, stages):
        status = pytest.main([*PYTEST, *extra, f"--basetemp={root.parent / 'pytest'}", *tests])
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            sys.exit(status)


def survives(root: Path, mutation: Mutation, number: int, log: Path, seconds: float) -> bool:
    """Whether the tests pass with a mutation in the copy, where it is undone."""
    file = root / mutation.path
    source, stat = file.read_bytes(), file.stat()
    file.write_bytes(mutation.apply(source))
    os.utime(
        file, (number, number)
    )  # compiled files go by size and whole seconds: a time of its own for each
    try:
        return not fails(root, covering(root, mutation.path), log, "-x", seconds=seconds)
    finally:
        file.write_bytes(source)
        os.utime(file, (stat.st_atime, stat.st_mtime))


def killer(log: Path) -> str:
    """The test that failed, as pytest says it."""
    found = re.findall(r"^(?:FAILED|ERROR) (\S+)", log.read_text(errors="replace"), re.MULTILINE)
    return found[0] if found else "an error outside of tests"


def main() -> None:
    """Mutate, test, print."""
    parser = argparse.ArgumentParser(description="Print which small faults in the source no test notices.")
    parser.add_argument("packages", nargs="*", default=PACKAGES, help="folders or files of the source")
    parser.add_argument("--num", type=int, default=150, help="mutations to try (default: 150)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice (default: 0)")
    parser.add_argument("--only", type=int, nargs="+", help="try these of the choice, by their numbers")
    parser.add_argument(
        "--seconds", type=float, default=300.0, help="time in which a test has to fail (default: 300)"
    )
    parser.add_argument(
        "--unchecked", action="store_true", help="do not run the tests without a mutation first"
    )
    options = parser.parse_args()
    for name in IMPORTED_ONCE:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        root, log = Path(folder) / "tree", Path(folder) / "log"
        copy_tree(root)
        every = mutations(root, options.packages)
        chosen = random.Random(options.seed).sample(every, min(options.num, len(every)))
        numbered = [pair for pair in enumerate(chosen, 1) if not options.only or pair[0] in options.only]
        print(f"{len(numbered)} of {len(every)} mutations, seed {options.seed}", flush=True)
        paths = {mutation.path for _, mutation in numbered}
        needed = {test for path in paths for stage in covering(root, path) for test in stage}
        if not options.unchecked and fails(root, [sorted(needed)], log):
            sys.exit(f"the tests fail without any mutation:\n{log.read_text()}")
        survivors = []
        for number, mutation in numbered:
            began = time.monotonic()
            survived = survives(root, mutation, number, log, options.seconds)
            survivors += [f"{number:4d}  {mutation}"] if survived else []
            word, took = "SURVIVED" if survived else "killed", time.monotonic() - began
            by = "" if survived else f"  by {killer(log)}"
            print(f"{number:4d} {word:8} {took:4.0f} s  {mutation}{by}", flush=True)
    killed = len(numbered) - len(survivors)
    print("\nSurvivors:", *survivors or ["none"], sep="\n")
    print(f"\nKilled {killed} of {len(numbered)}, {100 * killed / max(len(numbered), 1):.0f} %")


if __name__ == "__main__":
    main()
