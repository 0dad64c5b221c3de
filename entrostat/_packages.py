"""Makes sure that the packages of Entrostat are not hidden by files of the same names.

A script in a folder with a ``tasks.py`` finds that before the package ``tasks``.  Then the place of Entrostat goes before
all others in ``sys.path``, which processes that are started from here take over.  The file itself stays reachable by a
campaign (``kind: tasks.py:MyTask``), and by ``import`` under another name.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("controllers", "tasks", "policies", "orchestrator")
ROOT = Path(__file__).resolve().parents[1]


def secure() -> None:
    """Put ours first where others would be found.

    Raises:
        ImportError: another module of such a name is imported already.
    """
    for name in PACKAGES:
        if name in sys.modules:
            place = getattr(sys.modules[name], "__file__", None)
            if not _is_ours(name, place):
                raise ImportError(
                    f"entrostat has a package {name!r}, and another module of that name is imported already ({place}); "
                    "rename that one, or import entrostat before it"
                )
        elif not _is_ours(name, getattr(find_spec(name), "origin", None)) and str(ROOT) != sys.path[0]:
            sys.path.insert(0, str(ROOT))


def _is_ours(name: str, place: str | None) -> bool:
    return place is not None and Path(place).resolve() == ROOT / name / "__init__.py"
