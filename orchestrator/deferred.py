"""Packages that a command names and may not use: their import waits for the first use.

Actuators, objectives and sensors are classes that a campaign names and that compute with torch.  To check a campaign
asks them for their ranges and fields alone, and torch takes longer to import than all the rest takes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """Stands for a package that nothing has been asked of; importlib's own LazyLoader loads it at the second import."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


class _AlreadyLoaded(MetaPathFinder, Loader):
    """Gives a dotted import the module that loading its package has loaded by now.

    ``import package.part`` looks for the part in ``sys.modules`` first and asks the package for its path then, which
    is what loads it, part and all; without this finder the part would be run a second time.
    """

    def __init__(self, package: str) -> None:
        self.package = package
        self._own: dict[str, ModuleSpec | None] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        is_there = fullname.startswith(f"{self.package}.") and fullname in sys.modules
        return ModuleSpec(fullname, self) if is_there else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = sys.modules[spec.name]
        self._own[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It has run; the import has only put another specification on it."""
        module.__spec__ = self._own.pop(module.__name__)


def defer(package: str) -> None:
    """Let ``import package`` load nothing until an attribute or a module of it is asked for.

    For a command of one thread, before it imports anything that takes part in it.
    """
    if package in sys.modules or (spec := find_spec(package)) is None:
        return
    module = _Deferred(package)
    module.__spec__, module.__file__ = spec, spec.origin  # what goes through all modules looks at these
    sys.modules[package] = module
    sys.meta_path.insert(0, _AlreadyLoaded(package))
