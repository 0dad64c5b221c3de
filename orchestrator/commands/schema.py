"""JSON Schemas of the files a user writes, so that an editor completes and checks them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from orchestrator.configuration.method_file import MethodConfig
from orchestrator.configuration.models import CampaignConfig, LoopConfig, RunConfig
from orchestrator.configuration.parts import to_plain
from orchestrator.errors import ConfigError, did_you_mean

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_FILES: dict[str, type[BaseModel]] = {"campaign": CampaignConfig, "method": MethodConfig}


class _Generator(GenerateJsonSchema):
    """Writes a part that is a default as the mapping that names it."""

    def encode_default(self, dft: Any) -> Any:
        return to_plain(dft)


def json_schema(of: str) -> dict[str, Any]:
    """Schema of ``campaign``, ``method`` or ``study`` files.

    Sections that are merged from several places are loose mappings when read; here they get the
    schema of what they must be once merged, with nothing required, since any of them may be partial.

    Raises:
        ConfigError: there is no such file.
    """
    if of == "study":
        from orchestrator.tuning.models import StudyConfig  # tuning is built on this package

        return StudyConfig.model_json_schema(schema_generator=_Generator) | {"$schema": DIALECT}
    if of not in _FILES:
        raise ConfigError(f"unknown schema {of!r}; {did_you_mean(of, [*_FILES, 'study'])}")
    schema = _FILES[of].model_json_schema(schema_generator=_Generator)
    whole = RunConfig.model_json_schema(schema_generator=_Generator)
    loop = LoopConfig.model_json_schema(schema_generator=_Generator)
    definitions = schema.setdefault("$defs", {}) | whole.pop("$defs", {}) | loop.pop("$defs", {})
    sections = {name: _partial(section) for name, section in whole["properties"].items()}
    definitions = {name: _partial(definition) for name, definition in definitions.items()}
    definitions["LoopConfig"] = _partial(loop)
    for holder in [schema, *([definitions["ArmConfig"]] if "ArmConfig" in definitions else [])]:
        for name in holder["properties"].keys() & sections.keys():
            holder["properties"][name] = sections[name]
    return schema | {"$defs": definitions, "$schema": DIALECT}


def _partial(schema: dict[str, Any]) -> dict[str, Any]:
    """The same without required keys, but for ``kind``, which says what the others mean."""
    required = [key for key in schema.get("required", []) if key in ("kind", "name")]
    rest = {key: value for key, value in schema.items() if key != "required"}
    return rest | ({"required": required} if required else {})
