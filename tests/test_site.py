"""The documentation hangs together: every page is in the navigation, every link leads to a page and a heading."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
READ = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]


class Loader(yaml.SafeLoader):
    """Reads mkdocs.yml without making the Python objects that it names."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)
SITE = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)


def leaves(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for each in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from leaves(each)


def slug(title: str) -> str:
    """The anchor of a heading, as GitHub makes it; mkdocs is told to make the same."""
    return re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")


def outside_code(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    return {slug(title) for title in re.findall(r"^#+ (.*)$", outside_code(page), flags=re.MULTILINE)}


def test_the_navigation_has_every_page_once():
    assert sorted(leaves(SITE["nav"])) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


@pytest.mark.parametrize("page", READ, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_a_file_and_a_heading(page):
    text = re.sub(r"`[^`\n]*`", "", outside_code(page))
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(
        r"^\[[^\]]+\]: (\S+)", text, flags=re.MULTILINE
    )
    for target in targets:
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target
        if page.is_relative_to(DOCS) and path:
            assert file.resolve().is_relative_to(DOCS), f"{target} is not on the site"


@pytest.mark.parametrize("page", READ, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page):
    if page.name in ("log.md", "CHANGELOG.md"):  # they tell of what was
        return
    named = re.findall(
        r"`((?:controllers|tasks|policies|orchestrator|tests|configs|docs|benchmarks)/[\w/.-]*)`",
        page.read_text(),
    )
    for path in named:
        assert (ROOT / path).exists() or "NAME" in path, path


def test_the_log_has_an_index_of_all_its_entries():
    before, index = (DOCS / "log.md").read_text().split("## Index\n")
    index, *entries = re.split(r"^## ", index, flags=re.MULTILINE)
    assert not re.search(r"^## ", before, flags=re.MULTILINE)
    linked = re.findall(r"\]\(#([^)]+)\)", index)
    assert sorted(linked) == sorted(slug(entry.splitlines()[0]) for entry in entries)
    for row in re.findall(r"^\| 2.*$", index, flags=re.MULTILINE):
        date, _, result = (cell.strip() for cell in row.strip("|").rsplit(" | ", 2))
        assert date in row.split("](#")[1]
        assert result.strip("| ").endswith(".")


def test_the_api_has_a_page_for_each_package_with_all_its_modules():
    spec = importlib.util.spec_from_file_location("api_pages", DOCS / "api_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pages = module.api_pages()
    shown = {name for text in pages.values() for name in re.findall(r"^::: (\S+)$", text, flags=re.MULTILINE)}
    files = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for package in module.PACKAGES
        for file in (ROOT / package).rglob("*.py")
        if not file.name.startswith("__")
    }
    assert shown == files
    assert {"controllers", "controllers.laws", "orchestrator.commands"} <= pages.keys()


@pytest.mark.slow
def test_the_site_builds_strictly(tmp_path):
    for package in ("mkdocs", "material", "mkdocstrings"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed; `make docs` installs it")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "api" / "controllers.laws" / "index.html").read_text()
    assert "Proportional gain" in page
    assert (tmp_path / "reference" / "campaign" / "index.html").exists()
