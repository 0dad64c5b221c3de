"""Actuators, one file each.  Dropping a file here that defines one registers it."""

from importlib import import_module
from pkgutil import iter_modules

from policies.actuators.base import Actuator

for _module in iter_modules(__path__, prefix=f"{__name__}."):
    import_module(_module.name)

ACTUATORS: dict[str, type[Actuator]] = {
    actuator.kind: actuator for stage in Actuator.__subclasses__() for actuator in stage.__subclasses__()
}
