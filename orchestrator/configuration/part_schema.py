"""Reads parts of a run from YAML, each by its kind.

``{kind: pid, kp: 1.0}`` becomes the frozen dataclass that it names.

The schema is made from the part classes themselves, so a setting is declared once.  Every family
(laws, references, filters, actuators, objectives, tasks) is a union of its members, distinguished by
``kind``.  The value that is read is the part itself, guarded by its own ``__post_init__``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache, partial, reduce
from operator import or_
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, cast, get_args, get_origin, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function

from orchestrator.configuration.descriptions import bounds, meanings
from orchestrator.configuration.own_kinds import PATTERN, OwnKinds, reference_of
from orchestrator.errors import did_you_mean, one_line, short

LARGEST_INTEGER = 2**63 - 1
"""What arrays, databases and random generators hold."""


def _numbers_are_numbers(schema: Any) -> Any:
    """The schema with a look at every number before pydantic makes one of what is none.

    Pydantic's strict mode would refuse the list for a tuple and the text from an environment variable as well.
    A union of a number with a truth value keeps both apart by itself.
    """
    if isinstance(schema, list | tuple):
        return type(schema)(_numbers_are_numbers(each) for each in schema)
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    if kind == "function-before" and schema["function"]["function"] in _NUMBERS.values():  # of a model inside
        return schema
    if kind in _NUMBERS:
        return no_info_before_validator_function(_NUMBERS[kind], cast(CoreSchema, schema))
    if kind == "union" and any(
        isinstance(each, dict) and each.get("type") == "bool" for each in schema["choices"]
    ):
        return schema
    return {key: value if key in _OPAQUE else _numbers_are_numbers(value) for key, value in schema.items()}


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"must be a number, got {value}; write one")
    return value


def _whole_number(value: Any) -> Any:
    if isinstance(_number(value), float) and not abs(value) <= LARGEST_INTEGER:
        raise ValueError(f"must be a whole number of at most 64 bits, got {value:g}; lower it")
    return value


def _truth(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"must be true or false, got {value}; write one of them")
    return value


_NUMBERS: dict[Any, Any] = {"int": _whole_number, "float": _number, "bool": _truth}
_OPAQUE = ("default", "metadata")


class Strict(BaseModel):
    """Unknown keys are refused; so is everything that is not finite where a number is wanted, and ``yes`` for 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return cast(CoreSchema, _numbers_are_numbers(handler(source)))

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for key, text in cls.descriptions().items():
            if key in properties:
                properties[key]["description"] = text
        return schema

    @classmethod
    def descriptions(cls) -> dict[str, str]:
        """What each key means, for JSON Schemas and the reference."""
        return meanings(cls)


@dataclass(frozen=True)
class MadeFrom:
    """Annotation of a YAML value that pydantic reads as ``models`` and hands over as the part itself.

    ``law: Annotated[Law, one_of(LAWS)]`` is a ``Law`` to a reader and to the type checker.
    """

    models: Any
    names: tuple[str, ...] = ()
    """Kinds that may be given by name alone, such as ``engine: transformers``."""
    aliases: tuple[tuple[str, str], ...] = ()
    """Further names, each with the kind that it is."""
    own: OwnKinds | None = None
    """Takes kinds of a user's own, besides."""
    nested: tuple[tuple[Any, MadeFrom], ...] = ()
    """What a part of a user's own may hold, as in ``one_of``."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        before = [BeforeValidator(partial(_of_kind, dict(self.aliases)))] if self.names else []
        own = [WrapValidator(self._read_own)] if self.own is not None else []
        return handler.generate_schema(Annotated[self.models, AfterValidator(_build), *before, *own])

    def _read_own(self, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        """A part of a user's own where the kind names one, any other as ever."""
        kind = value.get("kind") if isinstance(value, dict) else value
        part = self.own.find(kind) if self.own is not None and isinstance(kind, str) else None
        if part is None:
            return handler(value)
        model = _own_model(kind, part, self.nested)
        given = value if isinstance(value, dict) else {"kind": kind}
        if unknown := sorted(set(given) - set(model.model_fields)):
            raise ValueError(
                f"unknown key {unknown[0]!r} of {kind}; {did_you_mean(unknown[0], model.model_fields)}"
            )
        return _storable(_build(model.model_validate(given)))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        found = [] if self.models is NONE_OF_OURS else [handler(core)]
        if self.names:
            found.append({"enum": list(self.names)})
        if self.own is not None:
            kind = {"type": "string", "pattern": PATTERN, "description": self.own.description}
            found.append({"type": "object", "properties": {"kind": kind}, "required": ["kind"]})
            found += [kind] if self.names else []
        return {"anyOf": found} if len(found) > 1 else found[0]


def one_of(
    registry: Mapping[str, type],
    *,
    nested: Mapping[Any, MadeFrom] | None = None,
    by_name: bool = False,
    aliases: Mapping[str, str] | None = None,
    own: OwnKinds | None = None,
) -> MadeFrom:
    """One member of ``registry``, given with its ``kind``.

    ``nested`` maps an abstract family to what is accepted for it, for members that hold a part of it, or
    several.  Without a registry all members are a user's ``own``.  ``by_name`` lets the name of a kind stand for it with its defaults, and then ``aliases``
    are further names.  ``own`` takes kinds of a user's own.
    """
    if not registry:
        return MadeFrom(NONE_OF_OURS, own=own)
    models = {kind: _model(kind, part, nested or {}) for kind, part in sorted(registry.items())}
    union: Any = reduce(or_, models.values())
    complete = [kind for kind, model in models.items() if _required(model) == {"kind"}]
    return MadeFrom(
        Annotated[union, Field(discriminator="kind")] if len(models) > 1 else union,
        names=tuple(sorted([*complete, *(aliases or {})])) if by_name else (),
        aliases=tuple((aliases or {}).items()),
        own=own,
        nested=tuple((nested or {}).items()),
    )


def section(part: type, *, nested: Mapping[Any, MadeFrom] | None = None) -> MadeFrom:
    """A mapping that is one known dataclass, and so needs no ``kind``; ``nested`` as in ``one_of``."""
    return MadeFrom(_model(None, part, nested or {}))


def to_plain(value: Any) -> Any:
    """Back to what YAML can hold: models and parts become mappings, tuples become lists."""
    if isinstance(value, BaseModel):
        return {name: to_plain(getattr(value, name)) for name in type(value).model_fields}
    if is_dataclass(value) and not isinstance(value, type):
        kind = reference_of(type(value)) or getattr(value, "kind", None)
        return ({} if kind is None else {"kind": kind}) | {
            f.name: to_plain(getattr(value, f.name)) for f in fields(value)
        }
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value


def _refused(value: Any) -> Any:
    raise ValueError(f"must name a class of your own by kind: FILE.py:NAME, got {short(value)}; write that")


NONE_OF_OURS: Any = Annotated[Any, BeforeValidator(_refused)]


class _PartModel(Strict):
    """Base of the generated models; ``part`` is the dataclass that a valid one becomes."""

    made_from: ClassVar[type]

    def part(self) -> Any:
        raise NotImplementedError

    @classmethod
    def descriptions(cls) -> dict[str, str]:
        rules = bounds(cls.made_from)
        texts = {
            key: f"{text}\nMust {rules[key]}." if key in rules else text
            for key, text in meanings(cls.made_from).items()
        }
        return {"kind": "Kind of the part."} | texts


def _required(model: type[BaseModel]) -> set[str]:
    return {name for name, field in model.model_fields.items() if field.is_required()}


def _of_kind(aliases: Mapping[str, str], value: Any) -> Any:
    if isinstance(value, str):
        return {"kind": aliases.get(value, value)}
    if isinstance(value, dict) and isinstance(value.get("kind"), str):
        return value | {"kind": aliases.get(value["kind"], value["kind"])}
    return value


def _build(model: Any) -> Any:
    """The part itself; whatever its guards raise of a value is the value's fault, and pydantic knows its key."""
    if not isinstance(model, _PartModel):
        return model
    try:
        return model.part()
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"cannot be used: {one_line(error)}; change it") from error


def _storable(part: Any) -> Any:
    """A part of a user's own whose settings a run can write down."""
    for setting in fields(part):
        value = getattr(part, setting.name)
        try:
            json.dumps(to_plain(value), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                f"{setting.name}: must be what JSON can hold, got {short(value)}; take a number, a text or a tuple of them"
            ) from error
    return part


@cache
def _own_model(kind: str, part: type, nested: tuple[tuple[Any, MadeFrom], ...]) -> type[_PartModel]:
    return _model(kind, part, dict(nested))


def _model(kind: str | None, part: type, nested: Mapping[Any, Any]) -> type[_PartModel]:
    hints = get_type_hints(part)
    settings: dict[str, Any] = {} if kind is None else {"kind": (Literal[kind], ...)}
    for setting in fields(part):
        default = setting.default
        if default is MISSING:
            default = ... if setting.default_factory is MISSING else setting.default_factory()
        settings[setting.name] = (_with_nested(hints[setting.name], nested), default)

    class Member(_PartModel):
        def part(self) -> Any:
            values = {name: getattr(self, name) for name in type(self).model_fields if name != "kind"}
            return part(**values)

    model: type[_PartModel] = create_model(part.__name__, __base__=Member, __doc__=part.__doc__, **settings)
    model.made_from = part
    return model


def _with_nested(hint: Any, nested: Mapping[Any, Any]) -> Any:
    """A hint for a part of a family, for a tuple of them, or for one or null, as pydantic reads it."""
    if hint in nested:
        return Annotated[hint, nested[hint]]
    if get_origin(hint) in (Union, UnionType):
        return reduce(or_, (_with_nested(option, nested) for option in get_args(hint)))
    if get_origin(hint) is tuple:
        return tuple[tuple(_with_nested(item, nested) for item in get_args(hint))]  # type: ignore[misc]
    return hint
