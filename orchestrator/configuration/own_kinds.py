"""Kinds of a user's own: classes named by file or module, and those that installed packages offer by a name.

``kind: parts.py:MyLaw`` and ``kind: my_package.MyLaw`` name a class.  A package offers one as an entry point of the
group of its family, ``[project.entry-points."entrostat.laws"]  my_law = "my_package:MyLaw"``; then ``kind: my_law``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from orchestrator.errors import one_line
from tasks import own_code

PATTERN = r"[.:]"
"""What every reference has and no kind of ours."""

_references: dict[type, str] = {}


def reference_of(part: type) -> str | None:
    """The kind that a class of a user's own is read by; None for one of ours."""
    return _references.get(part)


def files_of(part: object) -> list[Path]:
    """The files that a part of a user's own is written in; none for one of ours."""
    reference = _references.get(type(part))
    if reference is None:
        return []
    return own_code.files_of(reference if own_code.is_own(reference) else f"{type(part).__module__}.x")


@dataclass(frozen=True)
class OwnKinds:
    """The kinds of a family that a user adds."""

    base: type
    """What they have to be subclasses of."""
    group: str
    """The entry points that offer them."""
    taken: Mapping[str, type] = dataclasses.field(hash=False)
    """Kinds of ours, whose names are taken."""
    needs: tuple[str, ...] = ()
    """Attributes of the class that they have to set."""
    label: str = "kind"
    """The attribute that names one in metrics; the name of the class where it is not set."""

    @property
    def description(self) -> str:
        """For an editor, which cannot know their settings."""
        return f"A {self.base.__name__} of your own: FILE.py:NAME, or package.module.NAME."

    def find(self, kind: str) -> type | None:
        """The class of a kind; None where it is none of a user's.

        Raises:
            ValueError: there is no such class, or it cannot be a member of the family.
        """
        if own_code.is_own(kind):
            found = own_code.load(kind)
        elif kind not in self.taken and (offer := _offers(self.group).get(kind)):
            found = _offered(offer)
        else:
            return None
        self._check(kind, found)
        _references[found] = kind
        return found  # type: ignore[no-any-return]

    def offered(self) -> Iterator[tuple[str, str]]:
        """Name and summary of what installed packages offer; one that cannot be used says why."""
        for name, offer in sorted(_offers(self.group).items()):
            try:
                part = self.find(name)
                yield name, f"{(part.__doc__ or '').strip().partition(chr(10))[0]} ({offer.value})"
            except ValueError as error:
                yield name, f"cannot be used: {error}"

    def _check(self, kind: str, part: Any) -> None:
        family = f"{self.base.__module__}.{self.base.__name__}"
        if not isinstance(part, type) or not issubclass(part, self.base):
            raise ValueError(
                f"{kind} must be a subclass of {family}, got {getattr(part, '__name__', part)!r:.60}; derive it from that"
            )
        params = getattr(part, "__dataclass_params__", None)
        if "__dataclass_fields__" not in vars(part) or params is None or not params.frozen:
            raise ValueError(
                f"{kind} must be a frozen dataclass, whose fields are its settings; put @dataclass(frozen=True, "
                "kw_only=True) above it"
            )
        settings = {each.name for each in dataclasses.fields(part)}  # type: ignore[arg-type]
        for name in ("kind", self.label):
            if name in settings:
                raise ValueError(
                    f"{kind}: {name} must not be a setting, for it names the class; write {name}: ClassVar[str] = ..."
                )
        if missing := sorted(getattr(part, "__abstractmethods__", ())):
            raise ValueError(f"{kind} lacks {', '.join(missing)}, which every {family} has; write them")
        if missing := [name for name in self.needs if not hasattr(part, name)]:
            raise ValueError(
                f"{kind} lacks {', '.join(missing)}, which every {family} sets; add it to the class"
            )
        if self.label not in vars(part):
            setattr(part, self.label, part.__name__)
        name = getattr(part, self.label)
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_\-]{1,60}", name):
            raise ValueError(
                f"{kind}: {self.label} must be of letters, digits, _ and -, got {name!r:.60}; rename it"
            )
        if name in self.taken:
            raise ValueError(
                f"{kind}: {self.label} must not be {name!r}, which is one of ours; rename it, or remove it"
            )


@cache
def _offers(group: str) -> dict[str, EntryPoint]:
    return {offer.name: offer for offer in entry_points(group=group)}


def _offered(offer: EntryPoint) -> Any:
    try:
        return offer.load()
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"the entry point {offer.value} cannot be loaded: {one_line(error)}; mend that package"
        ) from error
