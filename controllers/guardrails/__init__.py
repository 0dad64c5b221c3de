"""Detectors of guardrails, one file each.  Dropping a file here that defines a ``Detector`` registers it."""

from importlib import import_module
from pkgutil import iter_modules

from controllers.guardrails.base import Ceiling, Detector
from controllers.guardrails.entropy_level import EntropyLevel

for _module in iter_modules(__path__, prefix=f"{__name__}."):
    import_module(_module.name)

_FAMILIES: tuple[type[Detector], ...] = (Detector, Ceiling, EntropyLevel)

DETECTORS: dict[str, type[Detector]] = {
    each.name: each for family in _FAMILIES for each in family.__subclasses__() if each not in _FAMILIES
}
