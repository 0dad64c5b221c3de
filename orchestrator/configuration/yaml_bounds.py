"""Bounds on the content of a YAML text, checked before any library builds it.

The events of a text are read one by one, without recursion, so no nesting can exhaust a stack in Python or in C.
An alias counts as the value it stands for, because a text of few bytes can mean billions of nodes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from orchestrator.errors import ConfigError, one_line, quoted, short

DEEPEST = 32
"""Collections inside of each other, aliases written out; what is shipped has 9."""

MOST_NODES = 10_000
"""Keys, values and collections, aliases written out."""

LONGEST_NUMBER = 60
"""Characters of a number; 25 tell any that a computer calculates with from its neighbours."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "map", "seq")
)
_NO_TEXT = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "null"))
_NUMBER = re.compile(r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]*)?|[-+]?0[xXbBoO][0-9a-fA-F_]*")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")
_SIXTIES = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")


@dataclass(slots=True)
class _Open:
    """A collection that has begun and not ended."""

    is_mapping: bool
    anchor: str | None
    size: int = 1
    """Nodes so far, itself included."""
    height: int = 1
    """Collections inside of each other so far, itself included."""
    key: str | None = None
    """The one whose value is next; None where a key is."""
    place: int = 0
    keys: set[str] = field(default_factory=set)


def check_yaml(text: str) -> None:
    """Make sure that a text is one YAML document that is neither too large, nor too deep, nor ambiguous.

    Raises:
        ConfigError: it is not; says line, key, rule and remedy, and not the file.
    """
    try:
        _Check().all(_Loader(text))
    except (yaml.YAMLError, UnicodeError) as error:
        raise ConfigError(f"not valid YAML: {_without_snippet(error)}; fix that line") from error


def _without_snippet(error: Exception) -> str:
    """What is wrong and where; the line itself, which PyYAML shows a part of, may hold half of a credential."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return one_line(error)
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else None
    return ", ".join(part for part in (error.context, error.problem, where) if part)


class _Check:
    """One text's: the collections that are open, and what the anchors stand for."""

    def __init__(self) -> None:
        self.open: list[_Open] = []
        self.anchored: dict[str, tuple[int, int]] = {}
        self.documents = 0

    def all(self, loader: Any) -> None:
        while loader.check_event():
            event = loader.get_event()
            if isinstance(event, yaml.NodeEvent) and self.is_key:
                self.key(event, loader)
            self.event(event)

    @property
    def is_key(self) -> bool:
        """Whether what comes next is a key."""
        return bool(self.open) and self.open[-1].is_mapping and self.open[-1].key is None

    def event(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise self.refused(
                    event, "must be one document, and '---' begins another; give one file each"
                )
        elif isinstance(event, yaml.AliasEvent):
            self.alias(event)
        elif isinstance(event, yaml.ScalarEvent):
            self.scalar(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            self.begin(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self.end(event)

    def alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor not in self.anchored:
            inside = any(each.anchor == event.anchor for each in self.open)
            rule = "stands for what it is in" if inside else "has no anchor before it"
            raise self.refused(event, f"the alias *{short(event.anchor)[1:-1]} {rule}; write the value out")
        self.add(event, *self.anchored[event.anchor])

    def scalar(self, event: yaml.ScalarEvent) -> None:
        self.check_tag(event)
        value = event.value
        if event.implicit[0]:
            if len(value) > LONGEST_NUMBER and _NUMBER.fullmatch(value):
                raise self.refused(
                    event,
                    f"a number must have at most {LONGEST_NUMBER} characters, got {len(value)}; round it",
                )
            if _LEADING_ZERO.fullmatch(value) or _SIXTIES.fullmatch(value):
                raise self.refused(
                    event,
                    f"{short(value)} is another number in YAML than it looks (of base 8 or 60); "
                    "write it to base 10, or quote it where it is a text",
                )
        self.add(event, 1, 0)
        if event.anchor is not None:
            self.anchored[event.anchor] = (1, 0)

    def begin(self, event: yaml.CollectionStartEvent) -> None:
        self.check_tag(event)
        if len(self.open) >= DEEPEST:
            raise self.too_deep(event)
        if event.anchor is not None:
            self.anchored.pop(event.anchor, None)
        self.open.append(_Open(is_mapping=isinstance(event, yaml.MappingStartEvent), anchor=event.anchor))

    def end(self, event: yaml.CollectionEndEvent) -> None:
        ended = self.open.pop()
        if ended.anchor is not None:
            self.anchored[ended.anchor] = (ended.size, ended.height)
        self.add(event, ended.size, ended.height)

    def key(self, event: yaml.NodeEvent, loader: Any) -> None:
        """Make sure that a key is a text, and not there yet."""
        if not isinstance(event, yaml.ScalarEvent):
            raise self.refused(
                event, "a key must be a text, got an alias or a collection; write it out, quoted"
            )
        tag = event.tag or loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        if event.implicit[0] and tag in _NO_TEXT:
            raise self.refused(
                event,
                f"a key must be a text, got {short(event.value)}, which YAML reads as another value; quote it",
            )
        if event.value in self.open[-1].keys:
            raise self.refused(event, f"found duplicate key {quoted(event.value)}; keep one of the two")
        self.open[-1].keys.add(event.value)

    def add(self, event: yaml.Event, size: int, height: int) -> None:
        """A node is complete: count it into the collection that holds it."""
        if not self.open:
            return
        holder = self.open[-1]
        holder.size += size
        holder.height = max(holder.height, height + 1)
        if sum(each.size for each in self.open) > MOST_NODES:
            raise self.refused(
                event,
                f"must have at most {MOST_NODES} keys and values, aliases written out, got more; shorten it",
            )
        if len(self.open) + height > DEEPEST:
            raise self.too_deep(event)
        if not holder.is_mapping:
            holder.place += 1
        elif holder.key is None:
            holder.key = event.value if isinstance(event, yaml.ScalarEvent) else "*"
        else:
            holder.key = None

    def check_tag(self, event: Any) -> None:
        tag = event.tag
        if tag is not None and tag != "!" and tag not in _CORE_TAGS:
            raise self.refused(event, f"the tag {short(tag)} is not accepted; leave it out")

    def too_deep(self, event: yaml.Event) -> ConfigError:
        return self.refused(event, f"must be nested at most {DEEPEST} deep, got more; flatten it")

    def refused(self, event: Any, why: str) -> ConfigError:
        keys = [each.key if each.is_mapping else each.place for each in self.open]
        path = ".".join(quoted(key) for key in keys if key is not None)
        return ConfigError(f"line {event.start_mark.line + 1}: {path}{': ' if path else ''}{why}")
