"""Phases of a run: changes at known iterations, the same for every compared arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, PositiveFloat

from orchestrator.configuration.one_or_several import one_or_several
from orchestrator.configuration.own_families import OWN
from orchestrator.configuration.part_schema import MadeFrom, Strict, one_of, section
from tasks import TASKS, Task
from tasks.kinds.mixture import Member, Mixture
from tasks.misconceptions import Misconception
from tasks.rewards import Reward

_within: dict[Any, MadeFrom] = {
    Misconception: section(Misconception),
    tuple[Reward, ...]: one_or_several(Reward, by="function"),
}
_plain_task = one_of(
    {kind: task for kind, task in TASKS.items() if task is not Mixture},
    nested=_within,
    own=OWN[Task],
)
_member: dict[Any, MadeFrom] = {Member: section(Member, nested={Task: _plain_task})}
AnyTask = Annotated[Task, one_of(TASKS, nested=_within | _member, own=OWN[Task])]


class PhaseConfig(Strict):
    """What training is like from an iteration until the next phase begins.

    Disturbs a run on purpose, to see how its loops take it: a learning rate that doubles, problems that
    become harder, a domain that joins.  Each phase is a change of the run's own settings, not of the phase
    before it.
    """

    start: Annotated[int, Field(ge=0)]
    """First iteration; before that of the first phase, the run is as its other sections say."""
    learning_rate_factor: PositiveFloat = 1.0
    """Factor on ``learner.learning_rate``."""
    task: AnyTask
    """Keys laid over the run's ``task``, from which training prompts then come; none leaves it as it is.
    The warm start, the alphabet, the evaluation, the replies and the graders go by the run's own task, so let it hold
    all that phases have: a domain joins if a phase at 0 leaves it out and a later one does not."""


def phase_at(phases: Sequence[PhaseConfig], iteration: int) -> PhaseConfig | None:
    """The phase that an iteration is in, of phases in order; None before the first."""
    begun = [phase for phase in phases if phase.start <= iteration]
    return begun[-1] if begun else None
