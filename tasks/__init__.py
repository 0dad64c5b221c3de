"""Problems with verifiable rewards; every kind of task is a file in ``tasks.kinds``.

Importing this package is cheap: a task that needs a library imports it when it is first used.
"""

import tasks.kinds  # noqa: F401 - registers them
from tasks.base import Problem, Split, Task

TASKS: dict[str, type[Task]] = {task.kind: task for task in Task.__subclasses__()}

__all__ = ["TASKS", "Problem", "Split", "Task"]
