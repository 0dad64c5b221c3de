"""Writes the reference of every key: ``docs/reference/*.md`` for readers, ``configs/schema/*.json`` for editors.

python docs/reference.py            # write both
python docs/reference.py --check    # exit 1 if a file is not current

Both are made from the classes that read the files, so they say what is accepted.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from orchestrator.commands.schema import FILES, joined, json_schema, raw_schema
from orchestrator.configuration.loops import LoopConfig
from orchestrator.configuration.method_file import MethodConfig
from orchestrator.configuration.models import CampaignConfig, RunConfig
from orchestrator.engineering.plant_file import PlantFile
from orchestrator.tuning.models import StudyConfig

ROOT = Path(__file__).parents[1]
Schema = dict[str, Any]
MADE = "<!-- Written by docs/reference.py from the classes that read the file; change their docstrings. -->"
SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
TYPES = {
    "number": "number",
    "integer": "whole number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "object": "mapping",
}
HEADER = "| key | value | default | bounds | meaning |\n|---|---|---|---|---|"
MERGED = {"policy", "task", "learner", "rollout", "evaluation", "guardrails", "loops", "phases"}
"""Sections that a campaign, a method and an arm share; `RunConfig` says what they hold once merged."""


INTROS = {
    "campaign": """\
# Campaign files

`entrostat run`, `validate` and `prepare` read a campaign. An arm may override every section but
`evaluation`, `tracking` and `execution`; see [writing a campaign](../campaigns.md).""",
    "parts": """\
# Parts

A part is a mapping whose `kind` says which one it is and what its other keys mean.
`entrostat list laws` and its like print the kinds of a family.""",
    "method": """\
# Method presets

A preset is a file of `configs/methods`, or one that `entrostat design` and `entrostat tune --best`
write. Its sections are those of a [campaign](campaign.md), merged below the arm's own.""",
    "study": """\
# Study files

`entrostat tune` reads a study; see [studies](../studies.md).""",
    "plant": """\
# Plant files

`entrostat identify` writes a plant file; `entrostat design`, `simulate` and `tune` read it.""",
}
"""The beginning of each page."""


class Reference:
    """Walks the schemas from the top of each file down, and describes each mapping and each part once."""

    def __init__(self) -> None:
        self.pages: dict[str, list[str]] = {name: [intro, MADE] for name, intro in INTROS.items()}
        self.definitions: dict[str, Schema] = {}
        self.places: dict[str, str] = {}
        """What is described, or will be, to its page and anchor."""
        self.described: set[str] = set()

    def write(self) -> dict[str, str]:
        """Text of each page, by its name."""
        campaign, run, loop = (self._load(model) for model in (CampaignConfig, RunConfig, LoopConfig))
        merged = {key: run["properties"][key] for key in MERGED}
        self.definitions["LoopConfig"] = loop
        self.definitions["ArmConfig"] = _with_sections(self.definitions["ArmConfig"], merged)
        self._mapping("campaign", "Top level", _with_sections(campaign, merged))
        self._mapping("method", "Top level", _with_sections(self._load(MethodConfig), merged))
        self._mapping("study", "Top level", self._load(StudyConfig))
        self._mapping("plant", "Top level", self._load(PlantFile))
        return {name: "\n\n".join(sections) + "\n" for name, sections in self.pages.items()}

    def _load(self, model: type[BaseModel]) -> Schema:
        schema = raw_schema(model)
        self.definitions = joined(self.definitions, schema.pop("$defs", {}))
        return {key: value for key, value in schema.items() if key != "description"}

    def _mapping(self, page: str, title: str, schema: Schema, *, prefix: str = "", level: int = 2) -> None:
        """A section with a row for each key, followed by the sections of what those keys hold."""
        properties = schema["properties"]
        inside = [found for key, value in properties.items() for found in _inside(value, f"{prefix}{key}")]
        for path, each in inside:
            self._place(page, path, each)
        rows = [
            self._row(page, key, value, required=key in schema.get("required", []))
            for key, value in properties.items()
        ]
        table = "\n".join([HEADER, *rows]) if rows else "It has no keys."
        intro = [_first_paragraph(schema)] if "description" in schema else []
        self.pages[page].append("\n\n".join([f"{'#' * level} {title}", *intro, table]))
        for path, each in inside:
            self._below(page, path, each)

    def _place(self, page: str, path: str, schema: Schema) -> None:
        """Decide where something is described, before the first link to it."""
        target, title = ("parts", _last(path)) if _is_family(schema) and page != "study" else (page, path)
        self.places.setdefault(_name_of(schema), f"{target}.md#{_slug(title)}")

    def _below(self, page: str, path: str, schema: Schema) -> None:
        name = _name_of(schema)
        if name in self.described:
            return
        self.described.add(name)
        if _is_family(schema):
            self._family("study" if page == "study" else "parts", _last(path), schema)
        else:
            level = min(2 + path.count("."), 4)
            self._mapping(page, path, self.definitions[name], prefix=f"{path}.", level=level)

    def _family(self, page: str, family: str, schema: Schema) -> None:
        mapping = schema["discriminator"]["mapping"]
        members = {kind: self.definitions[mapping[kind].rpartition("/")[2]] for kind in sorted(mapping)}
        kinds = [
            f"- [`{kind}`](#{_slug(f'{family}: {kind}')}): {_cell(_first_line(part))}"
            for kind, part in members.items()
        ]
        self.pages[page].append(f"## {family}\n\n" + "\n".join(kinds))
        for kind, part in members.items():
            keys = {key: value for key, value in part["properties"].items() if key != "kind"}
            title = f"{family}: {kind}"
            self._mapping(page, title, part | {"properties": keys}, prefix=f"{title}.", level=3)

    def _row(self, page: str, key: str, value: Schema, *, required: bool) -> str:
        meaning, _, rule = value["description"].partition("\nMust ")
        rule = rule.rstrip(".").removeprefix("be ").replace(">=", "≥").replace("<=", "≤")
        bounds = ", ".join(dict.fromkeys(_numeric_bounds(value))) or rule
        default = "required" if required else _default(value)
        return f"| `{key}` | {self._type(page, value)} | {default} | {_cell(bounds)} | {_cell(meaning)} |"

    def _type(self, page: str, value: Schema) -> str:
        """What a key holds, with a link to where it is described."""
        if "$ref" in value or _is_family(value):
            target = self.places[_name_of(value)]
            return f"[{'part' if _is_family(value) else 'mapping'}]({target.removeprefix(f'{page}.md')})"
        if "anyOf" in value:
            options = [option for each in value["anyOf"] for option in self._type(page, each).split(" or ")]
            return " or ".join(dict.fromkeys(options))
        if "enum" in value:
            return ", ".join(f"`{each}`" for each in value["enum"])
        if "const" in value:
            return f"`{value['const']}`"
        if value.get("type") == "array":
            return self._list(page, value)
        inner = _values(value)
        return (
            f"names, each with {self._type(page, inner)}"
            if inner
            else TYPES.get(value.get("type", ""), "any")
        )

    def _list(self, page: str, value: Schema) -> str:
        items = value.get("prefixItems", [value.get("items", {})])
        held = self._type(page, items[0])
        count = f"{len(items)} × " if "prefixItems" in value else ""
        return f"list of {count}{held}" if " or " not in held else f"list ({held})"


def _with_sections(schema: Schema, merged: Mapping[str, Schema]) -> Schema:
    """The same with merged sections as what they hold once merged."""
    properties = {
        key: {k: v for k, v in merged[key].items() if k != "default"} | _own(value)
        if key in merged
        else value
        for key, value in schema["properties"].items()
    }
    return schema | {"properties": properties}


def _own(value: Schema) -> Schema:
    return {key: value[key] for key in ("description", "default") if key in value}


def _inside(value: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Everything within a key's schema that has a section of its own, with the path that it stands at."""
    if "$ref" in value or _is_family(value):
        yield path, value
        return
    for each in value.get("anyOf", []):
        yield from _inside(each, path)
    if "items" in value:
        yield from _inside(value["items"], f"{path}[]")
    if inner := _values(value):
        yield from _inside(inner, f"{path}.NAME")


def _values(value: Schema) -> Schema:
    """The schema of the values of a mapping with names of the user's own; empty where anything goes."""
    patterns = list(value.get("patternProperties", {}).values())
    inner = patterns[0] if patterns else value.get("additionalProperties")
    return inner if isinstance(inner, dict) else {}


def _is_family(schema: Schema) -> bool:
    return "oneOf" in schema


def _name_of(schema: Schema) -> str:
    """One name for one thing: a definition's, or those of a family's members."""
    refs = [schema["$ref"]] if "$ref" in schema else sorted(each["$ref"] for each in schema["oneOf"])
    names = [ref.rpartition("/")[2] for ref in refs]
    return "+".join(name for name in names if name != "Mixture")  # a member of a mixture is any task but one


def _last(path: str) -> str:
    return path.rpartition(".")[2].removesuffix("[]")


def _slug(title: str) -> str:
    """The anchor of a heading, as GitHub and Python-Markdown make it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")


def _numeric_bounds(value: Schema) -> Iterator[str]:
    yield from (f"{sign} {value[name]:g}" for name, sign in SIGNS.items() if name in value)
    for each in value.get("anyOf", []):
        yield from _numeric_bounds(each)
    for each in value.get("prefixItems", [value["items"]] if "items" in value else []):
        yield from (f"each {bound}" for bound in _numeric_bounds(each))
    if value.get("minItems") and "prefixItems" not in value:
        yield f"{value['minItems']} or more"


def _default(value: Schema) -> str:
    default = value.get("default", {})
    if isinstance(default, dict):
        return f"`{default['kind']}`" if "kind" in default else "see there" if default else "none"
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def _first_line(schema: Schema) -> str:
    return str(schema.get("description", "")).strip().split("\n")[0]


def _first_paragraph(schema: Schema) -> str:
    return _cell(str(schema["description"]).strip().split("\n\n")[0])


def _cell(text: str) -> str:
    """A text of ours as Markdown that fits into the cell of a table."""
    plain = " ".join(text.split()).replace("``", "`")
    code = re.split(r"(`[^`]*`)", plain)
    safe = [part if part.startswith("`") else re.sub(r"([*\[\]])", r"\\\1", part) for part in code]
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in safe).replace(
        "|", r"\|"
    )


def files() -> dict[Path, str]:
    """Every file that this writes, with its content."""
    pages = {ROOT / "docs" / "reference" / f"{name}.md": text for name, text in Reference().write().items()}
    schemas = {
        ROOT / "configs" / "schema" / f"{name}.json": json.dumps(
            json_schema(name), indent=1, ensure_ascii=False
        )
        + "\n"
        for name in FILES
    }
    return pages | schemas


def main() -> int:
    """Write the files, or with ``--check`` say which are not current."""
    stale = [
        path
        for path, text in files().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv:
        print(*(f"{path.relative_to(ROOT)} is not current" for path in stale), sep="\n")
        return int(bool(stale))
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
