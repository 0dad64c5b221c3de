"""Sentences that users read begin with their subject, and say it in the field's words."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from orchestrator.cli import app
from orchestrator.commands.schema import FILES, json_schema
from tests.orchestrator.configuration.test_schema import mappings

ROOT = Path(__file__).parents[1]
NAMES = ("README", "CONTRIBUTING", "CHANGELOG")
PAGES = [
    page
    for page in (*(ROOT / f"{name}.md" for name in NAMES), *sorted((ROOT / "docs").glob("*.md")))
    if page.name != "log.md"  # a record of its days
]

PACKAGES = ("controllers", "policies", "tasks", "orchestrator")
BESIDE = ("benchmarks", "examples", "docs", "tests")
"""Folders whose docstrings and comments are read too; their messages may be data of a test."""

BEGINS_BADLY = re.compile(r"(?:^|[.;:?!]\s+)(Of|That|Where|Which)\b")
NOT_THE_FIELDS = re.compile(
    r"\b(nobody|whoever|anew|foretold|foretells?|exams?|examined|courses?|told (?:apart|from)|came of|taken up"
    r"|takes? (?:it )?up|in vain|held against|(?:is|are) over(?! (?:a|the|all|one|its)\b))\b"
)

MESSAGES_TO_DO: tuple[str, ...] = ()
"""Folders whose messages and module docstrings are not converted yet.  This list can only shrink."""

DOCSTRINGS_TO_DO: tuple[str, ...] = ()
"""Folders and files whose docstrings of classes and functions are not converted yet.  This list can only shrink."""


def help_texts() -> Iterator[tuple[str, str]]:
    """The place of each help text, and the text."""
    for name, command in get_command(app).commands.items():
        yield name, command.help or ""
        for parameter in command.params:
            yield f"{name} {parameter.name}", getattr(parameter, "help", None) or ""


def fault(text: str) -> str | None:
    """The first fault of a text, or None."""
    if found := BEGINS_BADLY.search(text):
        return f"begins a sentence with {found[1]}"
    if found := NOT_THE_FIELDS.search(text):
        return f"says {found[0]!r}"
    return None


def source_files(folder: str, pattern: str = "*.py") -> list[Path]:
    """The files of a folder that are named so, or the one file that is named."""
    path = ROOT / folder
    return [path] if path.is_file() else sorted(path.rglob(pattern))


def texts(file: Path) -> Iterator[tuple[str, int, str]]:
    """The texts of a file, each with its sort (module, docstring, field or message) and its line.

    An f-string is one text, with `{}` for its values.  A string without a space is a name and no message.
    """
    tree = ast.parse(file.read_text())
    sorts: dict[int, str] = {}
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr):
                sorts[id(first.value)] = "module" if isinstance(node, ast.Module) else "docstring"
        if isinstance(node, ast.Expr):
            sorts.setdefault(id(node.value), "field")
        if isinstance(node, ast.JoinedStr):
            inside |= {id(value) for value in node.values}
            text = "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
            yield "message", node.lineno, text
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if id(node) not in inside and " " in node.value:
            yield sorts.get(id(node), "message"), node.lineno, node.value


def comments(file: Path) -> Iterator[tuple[int, str]]:
    """The comments of a Python or YAML file, each with its first line; lines of comment that follow are one."""
    block: list[str] = []
    last = 0
    for line, text, is_alone in comment_lines(file):
        if block and not (is_alone and line == last + 1):
            yield last - len(block) + 1, " ".join(block)
            block = []
        block.append(text.lstrip("#").strip())
        last = line if is_alone else 0
        if not is_alone:
            yield line, block.pop()
    if block:
        yield last - len(block) + 1, " ".join(block)


def comment_lines(file: Path) -> Iterator[tuple[int, str, bool]]:
    """The line of each comment, its text from the # on, and whether it has the line for itself."""
    if file.suffix == ".py":
        with tokenize.open(file) as source:
            for token in tokenize.generate_tokens(source.readline):
                if token.type == tokenize.COMMENT:
                    yield token.start[0], token.string, token.line.lstrip().startswith("#")
    else:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if found := re.search(r"(?:^|\s)(#.*)", line):
                yield number, found[1], line.lstrip().startswith("#")


def faults(folder: str, *sorts: str) -> Iterator[str]:
    """The faults in the texts of a folder, each with its place."""
    for file in source_files(folder):
        for sort, line, text in texts(file):
            if sort in sorts and (found := fault(text)):
                yield f"{file.relative_to(ROOT)}:{line}: {sort} {found}: {text[:80]!r}"


def converted(to_do: tuple[str, ...], *sorts: str) -> list[str]:
    """The faults outside of the folders that are still to be converted."""
    return [
        each
        for package in PACKAGES
        for each in faults(package, *sorts)
        if not each.startswith(
            tuple(f"{folder}/" if (ROOT / folder).is_dir() else f"{folder}:" for folder in to_do)
        )
    ]


@pytest.mark.parametrize(("place", "text"), list(help_texts()))
def test_help_is_plain_english(place, text):
    assert text, f"{place} has no help"
    assert not (found := fault(text)), f"{place} {found}"
    assert text[0].isupper()
    assert text.rstrip().endswith(".")


@pytest.mark.parametrize("of", FILES)
def test_the_meaning_of_a_key_is_plain_english(of):
    for properties in mappings(json_schema(of)):
        for key, value in properties.items():
            assert not (found := fault(value["description"])), f"{key} {found}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_are_plain_english(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    for paragraph in re.split(r"\n\n|\n(?=[-|#])", text):
        plain = " ".join(paragraph.split()).lstrip("-*#| ")
        assert not (found := fault(plain)), f"{page.name} {found}: {plain}"


def test_messages_and_module_docstrings_are_plain_english():
    assert not (found := converted(MESSAGES_TO_DO, "message", "module")), "\n".join(found)


def test_docstrings_are_plain_english():
    assert not (found := converted(DOCSTRINGS_TO_DO, "docstring", "field")), "\n".join(found)


@pytest.mark.parametrize("folder", BESIDE)
def test_docstrings_beside_the_packages_are_plain_english(folder):
    assert not (found := list(faults(folder, "module", "docstring", "field"))), "\n".join(found)


@pytest.mark.parametrize("folder", [*PACKAGES, *BESIDE, "configs"])
def test_comments_are_plain_english(folder):
    files = source_files(folder, "*.yaml" if folder == "configs" else "*.py")
    found = [
        f"{file.relative_to(ROOT)}:{line}: comment {said}: {text[:80]!r}"
        for file in files
        for line, text in comments(file)
        if (said := fault(text))
    ]
    assert files
    assert not found, "\n".join(found)


@pytest.mark.parametrize("folder", MESSAGES_TO_DO)
def test_what_is_converted_leaves_the_list_of_messages(folder):
    assert list(faults(folder, "message", "module")), f"{folder} is converted: remove it from MESSAGES_TO_DO"


@pytest.mark.parametrize("folder", DOCSTRINGS_TO_DO)
def test_what_is_converted_leaves_the_list_of_docstrings(folder):
    assert list(faults(folder, "docstring", "field")), (
        f"{folder} is converted: remove it from DOCSTRINGS_TO_DO"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Where runs are executed.", "begins a sentence with Where"),
        ("It failed. That is all.", "begins a sentence with That"),
        ("A run that is over counts.", "says 'is over'"),
        ("the effect is told from none", "says 'told from'"),
        ("The entry of which that is part, where it is found.", None),
    ],
)
def test_the_rules_find_their_faults(text, said):
    assert fault(text) == said


def test_texts_are_found_with_their_sorts(tmp_path):
    file = tmp_path / "part.py"
    file.write_text(
        '"""A module."""\n\ndef f(x):\n    """A function."""\n    raise ValueError(f"{x}: no " "such run")\n'
        'FIELD = "a name"\n"""A field."""\nname = "name"\n'
    )
    assert sorted(texts(file)) == [
        ("docstring", 4, "A function."),
        ("field", 7, "A field."),
        ("message", 5, "{}: no such run"),
        ("message", 6, "a name"),
        ("module", 1, "A module."),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("part.py", 'x = "# a"  # beside\n# Of two\n# lines.\n\n# Alone.\ny = 1\n'),
        ("part.yaml", 'x: "a#b"  # beside\n# Of two\n# lines.\n\n# Alone.\ny: 1\n'),
    ],
)
def test_comments_are_found_with_their_lines(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    assert list(comments(file)) == [(1, "beside"), (2, "Of two lines."), (5, "Alone.")]
