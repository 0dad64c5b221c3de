"""Writes the annotated tree and the floors into docs/architecture.md.

The tree has a line a file, from the files' own first lines; the floors are those that the architecture test holds.

python docs/tree.py            # write it
python docs/tree.py --check    # exit 1 where it is not current
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
FLOORS = ROOT / "tests" / "test_architecture.py"
PACKAGES = ("controllers", "policies", "tasks", "orchestrator", "entrostat", "benchmarks", "examples", "docs")
WIDTH, LONGEST = 34, 112
OTHERS = {
    "configs/quickstart.yaml": "The campaign that `make run` runs.",
    "configs/failures.yaml": "Ways to ruin a run, each on purpose, for guardrails to tell.",
    "configs/smollm2.yaml": "A pretrained model on two cores: adapters or last layers, free or held.",
    "configs/method_zoo.yaml": "Every preset on the tiny policy, side by side.",
    "configs/episodes.yaml": "A policy that does sums with a calculator.",
    "configs/guessing.yaml": "A policy that guesses a number, with hints.",
    "configs/control/": "Identified plant, designed gains, disturbances, better loops.",
    "configs/launch/": "Scripts for torchrun and SLURM.",
    "configs/methods/": "One preset a published method: copy, override, combine.",
    "configs/recipes/": "Qwen models of 1.5B, 7B and 32B on DAPO-Math-17k, and on puzzles.",
    "configs/schema/": "JSON schemas of campaigns, methods, studies and plants, for editors.",
    "configs/studies/": "Studies of gains that run as they are.",
    "tests/": "Mirrors the packages.",
}


def summary(file: Path) -> str:
    """The first sentence of a module's docstring, without its marks."""
    text = ast.get_docstring(ast.parse(file.read_text())) or ""
    first = text.split("\n\n")[0].replace("\n", " ").replace("``", "").replace("`", "")
    return first.split(". ")[0].rstrip(".:;") + "."


def lines(folder: Path, depth: int = 0) -> Iterator[str]:
    """One line a Python file, folders first named, then walked."""
    indent = "  " * depth
    yield entry(f"{indent}{folder.name}/", "")
    files = [file for file in sorted(folder.glob("*.py")) if file.name != "__init__.py"]
    for file in files:
        yield entry(f"{indent}  {file.name}", summary(file))
    for child in sorted(path.parent for path in folder.glob("*/__init__.py")):
        yield from lines(child, depth + 1)


def entry(name: str, text: str) -> str:
    room = LONGEST - WIDTH - 1
    if len(text) > room:  # end at the last clause that fits
        text = text[: max(text.rfind(mark, 0, room) for mark in (":", ",", ";"))] + "."
    return f"{name:<{WIDTH}} {text}".rstrip()


def tree() -> str:
    """The tree as a block of Markdown."""
    rows = [row for package in PACKAGES for row in lines(ROOT / package)]
    rows += [entry(name, text) for name, text in OTHERS.items()]
    return "```\n" + "\n".join(rows) + "\n```\n"


def floors() -> str:
    """A line a floor of `orchestrator`, the highest first."""
    for node in ast.parse(FLOORS.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLOORS":
            rows = [" ".join(sorted(rooms)) for rooms in ast.literal_eval(node.value)]
            return "```\n" + "\n".join(reversed(rows)) + "\n```\n"
    raise SystemExit(f"{FLOORS} has no FLOORS")


def filled(page: str, mark: str, content: str) -> str:
    """The page with new content between ``<!-- mark -->`` and ``<!-- /mark -->``."""
    start, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    before, rest = page.split(start)
    return before + start + content + end + rest.split(end)[1]


def main() -> int:
    """Write the page, or with ``--check`` say by the exit status whether it is current."""
    text = PAGE.read_text(encoding="utf-8")
    current = filled(filled(text, "tree", tree()), "floors", floors())
    if "--check" in sys.argv:
        return int(current != text)
    PAGE.write_text(current, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
