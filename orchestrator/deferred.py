"""Packages that a command names and may not use: their import waits for the first use.

Actuators, objectives and sensors are classes that a campaign names and that compute with torch.  To check a campaign
asks them for their ranges and fields alone, and torch takes longer to import than all the rest takes.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """Stands for a package that nothing has been asked of; importlib's own LazyLoader loads it at the second import."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


def defer(package: str) -> None:
    """Let ``import package`` load nothing until an attribute or a module of it is asked for.

    For a command of one thread, before it imports anything that takes part in it.
    """
    if package in sys.modules or (spec := find_spec(package)) is None:
        return
    module = _Deferred(package)
    module.__spec__, module.__file__ = spec, spec.origin  # what goes through all modules looks at these
    sys.modules[package] = module
