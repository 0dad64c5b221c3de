"""Writes the annotated tree into README.md, a line a file, from the files' own first lines.

python docs/tree.py            # write it
python docs/tree.py --check    # exit 1 where it is not current
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PACKAGES = ("controllers", "policies", "tasks", "orchestrator", "benchmarks", "docs")
START, END = "<!-- tree -->\n", "<!-- /tree -->"
WIDTH, LONGEST = 34, 112
OTHERS = {
    "configs/quickstart.yaml": "The campaign that `make run` runs.",
    "configs/failures.yaml": "Ways to ruin a run, each on purpose, for guardrails to tell.",
    "configs/smollm2.yaml": "A pretrained model on two cores: adapters or last layers, free or held.",
    "configs/methods/": "One preset a published method: copy, override, combine.",
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
    """The block between the marks."""
    rows = [row for package in PACKAGES for row in lines(ROOT / package)]
    rows += [entry(name, text) for name, text in OTHERS.items()]
    return "```\n" + "\n".join(rows) + "\n```\n"


def main() -> int:
    text = README.read_text()
    before, rest = text.split(START)
    after = rest.split(END)[1]
    current = before + START + tree() + END + after
    if "--check" in sys.argv:
        return int(current != text)
    README.write_text(current)
    return 0


if __name__ == "__main__":
    sys.exit(main())
