"""JSON Schemas of the files that a user writes, for completion and checks in an editor."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from orchestrator.configuration.loops import LoopConfig
from orchestrator.configuration.method_file import MethodConfig
from orchestrator.configuration.models import CampaignConfig, RunConfig
from orchestrator.configuration.part_schema import to_plain
from orchestrator.engineering.plant_file import PlantFile
from orchestrator.errors import ConfigError, did_you_mean
from orchestrator.tuning.models import StudyConfig

DIALECT = "https://json-schema.org/draft/2020-12/schema"

FILES = ("campaign", "method", "study", "plant")
"""Kinds of files that have a schema."""


class _Generator(GenerateJsonSchema):
    """Writes a part that is a default as the mapping that names it."""

    def encode_default(self, dft: Any) -> Any:
        return to_plain(dft)

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # "Kp" over kp tells an editor nothing


def json_schema(of: str) -> dict[str, Any]:
    """Schema of the files of a kind, with a description of every key.

    Sections of a campaign or a method are merged from several places, so they are loose mappings when
    read; here they get the schema of what they must be once merged, with nothing required, since any of
    them may be partial.

    Raises:
        ConfigError: there is no such kind.
    """
    if of not in FILES:
        raise ConfigError(f"unknown schema {of!r}; {did_you_mean(of, FILES)}")
    if of == "study":
        return raw_schema(StudyConfig) | {"$schema": DIALECT}
    if of == "plant":
        return raw_schema(PlantFile) | {"$schema": DIALECT}
    schema = raw_schema(CampaignConfig if of == "campaign" else MethodConfig)
    whole, loop = raw_schema(RunConfig), raw_schema(LoopConfig)
    definitions = joined(*(each.pop("$defs", {}) for each in (schema, whole, loop)))
    sections = {name: _partial(section) for name, section in whole["properties"].items()}
    definitions = {name: _partial(definition) for name, definition in definitions.items()}
    definitions["LoopConfig"] = _partial(loop)
    for holder in [schema, *([definitions["ArmConfig"]] if "ArmConfig" in definitions else [])]:
        for name in holder["properties"].keys() & sections.keys():
            holder["properties"][name] = sections[name] | {
                "description": holder["properties"][name]["description"]
            }
    schema |= {"$defs": definitions, "$schema": DIALECT}
    if of == "campaign":
        schema = _with_overrides(schema)
        schema["properties"]["task"]["required"] = ["kind"]  # an arm and a phase may change part of it
    return schema


def raw_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of what a file holds once everything is merged, with required keys."""
    return model.model_json_schema(schema_generator=_Generator)


def joined(*parts: dict[str, Any]) -> dict[str, Any]:
    """Definitions of several schemas as those of one; a name means one thing in all of them."""
    whole: dict[str, Any] = {}
    for name, definition in (item for part in parts for item in part.items()):
        assert whole.setdefault(name, definition) == definition, f"two classes of YAML are called {name}"
    return whole


def _with_overrides(node: Any) -> Any:
    """The same with parts that need no ``kind``: an arm may change one gain of the law that its method names."""
    if isinstance(node, list):
        return [_with_overrides(each) for each in node]
    if not isinstance(node, dict):
        return node
    node = {key: _with_overrides(value) for key, value in node.items() if key != "discriminator"}
    if "oneOf" in node:
        node["anyOf"] = node.pop("oneOf")
    is_own = "pattern" in node.get("properties", {}).get("kind", {})  # without its kind it would be anything
    if isinstance(node.get("required"), list) and not is_own:
        node["required"] = [key for key in node["required"] if key != "kind"]
    return node


def _partial(schema: dict[str, Any]) -> dict[str, Any]:
    """The same without required keys, but for ``kind``, which says what the others mean."""
    required = [key for key in schema.get("required", []) if key in ("kind", "name")]
    rest = {key: value for key, value in schema.items() if key != "required"}
    return rest | ({"required": required} if required else {})
