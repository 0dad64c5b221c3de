"""An mkdocs hook: one page of the API for each package, made from the docstrings when the site is built."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
PACKAGES = ("controllers", "tasks", "policies", "orchestrator")


def api_pages() -> dict[str, str]:
    """Markdown of each package's page, by the package's dotted name."""
    inits = sorted(init for package in PACKAGES for init in (ROOT / package).rglob("__init__.py"))
    return {_dotted(init.parent): _page(init.parent) for init in inits}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages into the navigation, below the heading that waits for them."""
    nav: list[dict[str, Any]] = config.nav or []
    for entry in nav:
        if "API" in entry:
            entry["API"] = [{name: f"api/{name}.md"} for name in api_pages()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages to those that are there."""
    from mkdocs.structure.files import File

    for name, text in api_pages().items():
        files.append(File.generated(config, f"api/{name}.md", content=text))
    return files


def _page(folder: Path) -> str:
    about = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    modules = [file for file in sorted(folder.glob("*.py")) if not file.name.startswith("__")]
    names = [f"{_dotted(folder)}.{file.stem}" for file in modules]
    return "\n\n".join([f"# {_dotted(folder)}", about, *(f"::: {name}" for name in names)]) + "\n"


def _dotted(folder: Path) -> str:
    return ".".join(folder.relative_to(ROOT).parts)
