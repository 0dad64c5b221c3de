"""Finds the keys that a mapping of a file may have, by the place at which pydantic found a fault."""

from __future__ import annotations

from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from orchestrator.configuration.part_schema import MadeFrom


def known_keys(annotation: Any, location: Sequence[Any]) -> list[str]:
    """The keys that a mapping at pydantic's ``location`` may have; empty where that is no mapping."""
    for key in location:
        annotation = _child(annotation, key)
    model = _models_of(annotation)
    return sorted(model[0].model_fields) if len(model) == 1 else []


def _child(annotation: Any, key: Any) -> Any:
    """One step of a pydantic location: a field, an item, or the ``kind`` of a union's member."""
    for model in _models_of(annotation):
        tag = model.model_fields.get("kind")
        if tag is not None and get_args(tag.annotation) == (key,):
            return model
        if key in model.model_fields:
            field = model.model_fields[key]
            made = [item.models for item in field.metadata if isinstance(item, MadeFrom)]
            return made[0] if made else field.annotation
    for option in _options(annotation):
        if get_origin(option) in (dict, list, tuple):
            return get_args(option)[-1 if get_origin(option) is dict else 0]
    return None


def _models_of(annotation: Any) -> list[type[BaseModel]]:
    return [o for o in _options(annotation) if isinstance(o, type) and issubclass(o, BaseModel)]


def _options(annotation: Any) -> list[Any]:
    """The alternatives of an annotation, freed of ``Annotated`` and of unions."""
    if get_origin(annotation) is Annotated:
        plain, *metadata = get_args(annotation)
        made = [item.models for item in metadata if isinstance(item, MadeFrom)]
        return _options(made[0] if made else plain)
    if get_origin(annotation) in (Union, UnionType):
        return [option for member in get_args(annotation) for option in _options(member)]
    return [annotation]
