"""The configuration of a campaign and of each of its runs, as pydantic models of the YAML.

A campaign is read in two steps.  `resolve.py` turns it into one plain mapping for every arm (the
campaign's sections, then the method's preset, then the arm's own overrides).  Each mapping becomes a
`RunConfig` here.  The settings of a part are declared once, in the part's own class.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from orchestrator.configuration.evaluation import EvaluationConfig
from orchestrator.configuration.execution import ExecutionConfig
from orchestrator.configuration.guardrails import GuardrailsConfig
from orchestrator.configuration.learner import LearnerConfig, RolloutConfig
from orchestrator.configuration.loops import LoopConfig
from orchestrator.configuration.names import ArmName, FolderName, Name
from orchestrator.configuration.part_schema import Strict
from orchestrator.configuration.phases import AnyTask, PhaseConfig, phase_at
from orchestrator.configuration.policy import PolicyConfig
from orchestrator.configuration.tracking import TrackingConfig
from policies.actuators.base import UpdateFacts
from tasks import Task


class ArmConfig(Strict):
    """One column of the comparison: a method, or a loop spelled out, with its own overrides."""

    name: ArmName
    """Name of the arm in tables and folders."""
    method: str | None = None
    """A preset of ``configs/methods``, or a path to one."""
    loops: dict[Name, Any] | None = None
    """Feedback loops by name, merged over those of the method."""
    learner: dict[str, Any] | None = None
    """Keys merged over the campaign's and the method's ``learner``."""
    rollout: dict[str, Any] | None = None
    """Keys merged over the campaign's and the method's ``rollout``."""
    policy: dict[str, Any] | None = None
    """Keys merged over the campaign's and the method's ``policy``."""
    guardrails: dict[str, Any] | None = None
    """Keys merged over the campaign's and the method's ``guardrails``."""
    task: dict[str, Any] | None = None
    """Keys merged over the campaign's ``task``."""
    phases: tuple[dict[str, Any], ...] | None = None
    """Instead of the campaign's; an empty list is none."""


class RunConfig(Strict):
    """Everything that decides the result of one arm, but for the seed."""

    policy: PolicyConfig = PolicyConfig()
    """Language model that is trained."""
    task: AnyTask
    """Source of the problems, and their grader."""
    learner: LearnerConfig
    """Training iteration and how many of them."""
    rollout: RolloutConfig = RolloutConfig()
    """How responses are sampled."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Evaluation on held-out problems."""
    loops: dict[Name, LoopConfig] = {}
    """Feedback loops by name; empty leaves entropy alone."""
    guardrails: GuardrailsConfig = GuardrailsConfig()
    """What a run watches itself for, and what it does then."""
    phases: tuple[PhaseConfig, ...] = ()
    """What changes during training, in the order of time."""

    def task_at(self, iteration: int) -> Task:
        """The task that the training prompts of an iteration come from."""
        phase = phase_at(self.phases, iteration)
        return phase.task if phase else self.task

    @property
    def timing(self) -> dict[str, Any]:
        """What decides how long its commands wait, for `LoopConfig.build` and `dead_time`."""
        return {"ahead": self.rollout.ahead, "measure": self.learner.measure}

    @property
    def update_facts(self) -> UpdateFacts:
        """What an update does with a batch, for actuators and objectives to judge whether they can act."""
        learner = self.learner
        return UpdateFacts(
            steps_per_batch=learner.steps_per_batch,
            objective=learner.objective.kind,
            group_size=learner.group_size,
            ratio_starts_at_one=learner.measure == "before_update" or self.rollout.is_of_the_learner,
        )

    @property
    def max_response_tokens(self) -> int:
        """The most that the policy can say to one problem [tokens]: a response, or all its turns of an episode."""
        turn = self.rollout.max_tokens
        return self.rollout.episode.most_spoken(turn) if self.task.answers_back else turn


class CampaignConfig(Strict):
    """A campaign as the user wrote it, but for the arms' sections, which `RunConfig` checks."""

    name: FolderName
    """Name of the campaign; its runs are in the folder of that name."""
    description: str = ""
    """One sentence or two for the report."""
    policy: dict[str, Any] = {}
    """Language model that is trained."""
    task: dict[str, Any]
    """Source of the problems, and their grader."""
    learner: dict[str, Any]
    """Training iteration and how many of them."""
    rollout: dict[str, Any] = {}
    """How responses are sampled."""
    evaluation: dict[str, Any] = {}
    """Evaluation on held-out problems."""
    guardrails: dict[str, Any] = {}
    """What every run watches itself for, and what it does then."""
    phases: tuple[dict[str, Any], ...] = ()
    """What changes during training, in the order of time; the same for every arm."""
    tracking: TrackingConfig = TrackingConfig()
    """Folder and database of the results."""
    execution: ExecutionConfig = ExecutionConfig()
    """Machines that execute the runs; changes no result."""
    arms: Annotated[tuple[ArmConfig, ...], Field(min_length=1)]
    """Methods that are compared; each is trained once for every seed."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    """Seeds of every arm, each at least 0; arms with the same seed get the same prompts."""
