"""A list of parts in YAML that may be written as one of them alone, and one as a text."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from orchestrator.configuration.part_schema import MadeFrom, section


def one_or_several(part: type, *, by: str) -> MadeFrom:
    """A list of one known dataclass, or one of them alone; a text is one with that setting ``by``."""
    text: Any = Annotated[part, section(part), BeforeValidator(lambda each: _set(by, each)), _OrText()]
    several: Any = tuple[text, ...]
    return MadeFrom(Annotated[several, BeforeValidator(_listed), _OrOne()])


def _set(by: str, value: Any) -> Any:
    return {by: value} if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


class _OrText:
    """In the JSON Schema, a text as well."""

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler(core)]}


class _OrOne:
    """In the JSON Schema, one item alone as well."""

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core)
        return {"anyOf": [*schema["items"]["anyOf"], schema]}
