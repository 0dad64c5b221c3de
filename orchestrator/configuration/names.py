"""Names that become folders: names of campaigns and studies among the runs, and of arms inside a campaign.

A name must be valid on every file system: systems that ignore case, systems that drop a final dot, and beside
the other files of the same folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$", max_length=80)]

_BESIDE_RUNS = re.compile(r"mlflow\.db.*|mlartifacts|mlruns|comparison\.html")
_BESIDE_ARMS = re.compile(
    r"campaign\.json|lock|tracking\.json|report|slurm|ray\.txt|journal\.log.*|study\.db.*|trial-[0-9]+"
)
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?")
"""What Windows takes for a device, whatever ending it has."""


def _unlike(kept: re.Pattern[str], what: str) -> Callable[[str], str]:
    def check(name: str) -> str:
        if kept.fullmatch(name.casefold()):
            raise ValueError(f"must not be {name!r}, a name that {what} reserve; choose another")
        if _DEVICES.fullmatch(name.casefold()):
            raise ValueError(f"must not be {name!r}, the name of a device on some systems; choose another")
        if name.endswith("."):
            raise ValueError(f"must not end in a dot, got {name!r}; remove it")
        return name

    return check


FolderName = Annotated[Name, AfterValidator(_unlike(_BESIDE_RUNS, "runs and MLflow"))]
"""Name of a campaign or a study."""

ArmName = Annotated[Name, AfterValidator(_unlike(_BESIDE_ARMS, "campaigns and studies"))]
"""Name of an arm."""
