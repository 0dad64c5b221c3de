"""Control laws, one file each.  Dropping a file here that defines a ``Law`` registers it."""

from importlib import import_module
from pkgutil import iter_modules

from controllers.base import Law

for _module in iter_modules(__path__, prefix=f"{__name__}."):
    import_module(_module.name)

LAWS: dict[str, type[Law]] = {law.kind: law for law in Law.__subclasses__()}
