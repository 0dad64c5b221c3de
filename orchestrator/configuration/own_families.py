"""The families that a user adds kinds to, each with its interface and its entry points."""

from __future__ import annotations

from controllers.base import Dither, Feedforward, Filter, Law, Reference
from controllers.guardrails import DETECTORS
from controllers.guardrails.base import Detector
from controllers.laws import LAWS
from controllers.parts.dither import DITHERS
from controllers.parts.feedforward import FEEDFORWARDS
from controllers.parts.filters import FILTERS
from controllers.parts.references import REFERENCES
from orchestrator.configuration.own_kinds import OwnKinds
from policies.actuators import ACTUATORS
from policies.actuators.base import Actuator
from policies.advantages import ADVANTAGES, Advantage
from policies.objectives import OBJECTIVES, Objective
from tasks import TASKS, Task

OWN: dict[type, OwnKinds] = {
    family.base: family
    for family in (
        OwnKinds(Task, "entrostat.tasks", TASKS),
        OwnKinds(Law, "entrostat.laws", LAWS),
        OwnKinds(Reference, "entrostat.references", REFERENCES),
        OwnKinds(Filter, "entrostat.filters", FILTERS),
        OwnKinds(Feedforward, "entrostat.feedforwards", FEEDFORWARDS),
        OwnKinds(Dither, "entrostat.dithers", DITHERS),
        OwnKinds(Actuator, "entrostat.actuators", ACTUATORS, needs=("command",)),
        OwnKinds(Objective, "entrostat.objectives", OBJECTIVES),
        OwnKinds(Advantage, "entrostat.advantages", ADVANTAGES),
        OwnKinds(
            Detector, "entrostat.detectors", DETECTORS, needs=("direction", "measures", "side"), label="name"
        ),
    )
}
"""By the class that its members derive from."""
