"""Problems with verifiable rewards.  Dropping a file here that defines a ``Task`` registers it.

Importing this package is cheap: a task that needs a library imports it when it is first used.
"""

from importlib import import_module
from pkgutil import iter_modules

from tasks.base import Problem, Split, Task

for _module in iter_modules(__path__, prefix=f"{__name__}."):
    import_module(_module.name)

TASKS: dict[str, type[Task]] = {task.kind: task for task in Task.__subclasses__()}

__all__ = ["TASKS", "Problem", "Split", "Task"]
