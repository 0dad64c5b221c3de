"""The configuration of a study, as pydantic models of the YAML."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator, model_validator

from controllers.guardrails.collapse import Collapse
from controllers.guardrails.explosion import Explosion
from orchestrator.configuration.names import FolderName
from orchestrator.configuration.part_schema import Strict
from orchestrator.masking import masked
from orchestrator.tuning.criteria import criterion

Level = TypeVar("Level", Collapse, Explosion)
Choice = bool | int | float | str | None
Names = tuple[str, ...]

MOST_STEPS = 1_000_000
"""Values of a parameter with a step, which samplers count."""


class Dimension(Strict):
    """One parameter: an interval of numbers, or choices."""

    low: float | None = None
    """Smallest value."""
    high: float | None = None
    """Largest value."""
    log: bool = False
    """Search on a logarithmic scale."""
    step: PositiveFloat | None = None
    """Only multiples of this above ``low``."""
    integer: bool = False
    """Search whole numbers only."""
    choices: tuple[Choice, ...] | None = None
    """Values to choose from, instead of an interval."""
    when: dict[str, Choice | tuple[Choice, ...]] = {}
    """Other parameters and the values, or the several values, at which this one is searched at all."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Dimension:
        if self.choices is not None:
            self._check_choices(self.choices)
        elif self.low is None or self.high is None:
            raise ValueError("must have either low and high, or choices; add what is missing")
        else:
            self._check_bounds(self.low, self.high)
        return self

    def _check_choices(self, choices: tuple[Choice, ...]) -> None:
        if self.low is not None or self.high is not None or self.log or self.integer or self.step:
            raise ValueError("choices stand alone; remove low, high, log, step and integer")
        if not choices or len({(type(choice), choice) for choice in choices}) < len(choices):
            raise ValueError(f"choices must be one value or several that differ, got {list(choices)}")
        if masked(list(choices)) != list(choices):
            raise ValueError(
                "choices must hold no password or token, which every trial would be stored with; let each name a "
                "method or a server that asks for none"
            )

    def _check_bounds(self, low: float, high: float) -> None:
        if not low < high:
            raise ValueError(f"low must be below high, got low {low:g} and high {high:g}; swap them")
        if self.log and low <= 0:
            raise ValueError(
                f"low must be > 0 on a logarithmic scale, got {low:g}; raise it, or leave log out"
            )
        if self.log and self.step is not None:
            raise ValueError("step and log exclude each other; leave one out")
        if self.step is not None and self.step > high - low:
            raise ValueError(f"step must be at most high - low = {high - low:g}, got {self.step:g}")
        if self.step is not None and (high - low) / self.step > MOST_STEPS:
            raise ValueError(
                f"step must leave at most {MOST_STEPS} values between low and high, got {self.step:g}; raise it, or "
                "leave it out"
            )
        numbers = (low, high) if self.step is None else (low, high, self.step)
        if self.integer and any(number != int(number) for number in numbers):
            raise ValueError(f"low, high and step of an integer must be whole, got {low:g} to {high:g}")


class LevelBound(Strict):
    """A level of the loop's reading, in nats or as a fraction of the setpoint, as a guardrail has it.

    It gives way where readings begin beyond it, or beyond the setpoint: a run that starts there has done nothing
    wrong yet.
    """

    nats: PositiveFloat | None = None
    """Level itself [nats/token]."""
    fraction: PositiveFloat | None = None
    """Level as a multiple of the setpoint: below 1 for a collapse, above 1 for an explosion."""
    window: PositiveInt = 5
    """Iterations in a row that have to be beyond it, so that one noisy reading decides nothing."""

    @model_validator(mode="after")
    def _one_of_two(self) -> LevelBound:
        if (self.nats is None) == (self.fraction is None):
            raise ValueError("must have either nats or fraction; give one of the two")
        return self

    def detector(self, kind: type[Level]) -> Level:
        """The detector of that kind with this level."""
        if self.nats is not None:
            return kind(threshold=self.nats, patience=self.window, unit="nats")
        assert self.fraction is not None
        return kind(threshold=self.fraction, patience=self.window, unit="share")


class ConstraintsConfig(Strict):
    """Limits that a trial must keep, whatever it is judged by."""

    collapse: LevelBound | None = None
    """Entropy must stay above this; a training run that falls below it is stopped."""
    explosion: LevelBound | None = None
    """Entropy must stay below this; a training run that exceeds it is stopped."""
    sensitivity: Annotated[float, Field(gt=1)] | None = None
    """Largest Ms of the loop with the plant; checked before anything is trained."""

    @field_validator("collapse", "explosion")
    @classmethod
    def _is_on_its_side_of_the_setpoint(
        cls, bound: LevelBound | None, info: ValidationInfo
    ) -> LevelBound | None:
        if bound is not None and bound.fraction is not None:
            side = "below" if info.field_name == "collapse" else "above"
            if not (bound.fraction < 1 if side == "below" else bound.fraction > 1):
                raise ValueError(
                    f"fraction must be {side} 1, which is the setpoint itself, got {bound.fraction:g}"
                )
        return bound


class SimulationConfig(Strict):
    """Stage one: candidates on an identified plant."""

    plant: str | None = None
    """A plant file, relative to the study's; null takes the plant that the arm's loop was designed for."""
    trials: PositiveInt = 1000
    """Candidates that are simulated."""
    seeds: PositiveInt = 4
    """Realisations of the plant's noise, the same for every candidate."""
    iterations: PositiveInt | None = None
    """Length of a simulated run; null is that of a training run."""
    initial_nats: PositiveFloat | None = None
    """Entropy at the start; null is the plant's level."""
    objective: str | Names | None = None
    """Criterion that stage one ranks by; null is the study's own, which then has to be one that a plant can tell."""
    enqueue: Annotated[int, Field(ge=0)] = 8
    """Best candidates that training begins with."""
    spread: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of a parameter's range by which two of those differ, in one parameter at least."""
    sampler: Literal["qmc", "random", "tpe"] = "qmc"
    """How candidates are drawn: ``qmc`` covers the space evenly, ``random`` by chance, ``tpe`` learns from those before."""


class SamplerConfig(Strict):
    """How training's parameters are suggested."""

    kind: Literal["tpe", "gp", "nsga2", "qmc", "random"] = "tpe"
    """Optuna sampler: ``tpe``, ``gp``, ``nsga2`` (for several criteria), ``qmc`` or ``random``."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of every draw of the study."""
    startup_trials: Annotated[int, Field(ge=0)] = 10
    """Finished trials before a model of them is used; those of stage one's best count."""


class NoPruner(Strict):
    """Every trial trains to its end."""

    kind: Literal["none"]
    """Always ``none``."""


class Halving(Strict):
    """Successive halving on the trained iterations, one seed after the other.

    The rungs are at ``first``, ``first · factor``, ``first · factor²``, … trained iterations.  At each, the best
    1 / ``factor`` of the trials that came so far go on.  All trials train the same seeds in the same order, so a rung
    compares them on the same seeds.  (Optuna's median pruner is not here: it compares the best value that a trial
    ever had, and a sum of errors is smallest at its start.)
    """

    kind: Literal["halving"]
    """Always ``halving``."""
    first: PositiveInt | None = None
    """Trained iterations at the first rung; null is a third of one seed's."""
    factor: Annotated[int, Field(ge=2)] = 3
    """One trial in this many goes on at each rung."""


class Wilcoxon(Strict):
    """Stops a trial that is worse than the best one seed by seed, by a paired signed-rank test."""

    kind: Literal["wilcoxon"]
    """Always ``wilcoxon``."""
    p_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Largest p-value at which a trial is stopped; larger stops more."""


PrunerConfig = Annotated[NoPruner | Halving | Wilcoxon, Field(discriminator="kind")]


class BudgetConfig(Strict):
    """When training ends."""

    trials: Annotated[int, Field(ge=0)] = 30
    """Trials of the study in all, over every command and machine; 0 leaves stage one alone."""
    seconds: PositiveFloat | None = None
    """Wall-clock of this command after which no trial begins; those that run go on to their end."""


class ConfirmConfig(Strict):
    """The best trials once more, before one of them wins: the best of many is chosen by its luck too."""

    trials: Annotated[int, Field(ge=0)] = 3
    """Number of the best trials; 0 leaves their values as they were found."""
    seeds: PositiveInt | None = None
    """Number of seeds that the study has not used, from 1000 on; null is as many as the study's, at least 3, and 64
    realisations of a plant's noise where nothing was trained."""


class StudyConfig(Strict):
    """A study file."""

    name: FolderName
    """Name of the study; its trials are in the folder of that name."""
    description: str = ""
    """One sentence or two for the page."""
    campaign: str
    """The campaign file, relative to the study's."""
    over: dict[str, Any] = {}
    """Laid over the campaign file, such as ``{learner: {iterations: 60}}`` for shorter runs."""
    arm: str
    """Name of the campaign's arm whose settings are searched."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] | None = None
    """Seeds that every trial is judged over, in this order; null is the campaign's."""
    loop: str | None = None
    """The loop that is judged; null is the arm's first one with a setpoint."""
    space: dict[str, Dimension]
    """Dotted paths of the arm's configuration, such as ``loops.entropy.law.kp``."""
    objective: str | Names = "iae"
    """Criterion that trials are judged by: one name, or several for a Pareto front."""
    constraints: ConstraintsConfig = ConstraintsConfig()
    """Limits that a trial must keep, whatever it is judged by."""
    simulation: SimulationConfig | None = None
    """Stage one; without it training begins at once."""
    budget: BudgetConfig = BudgetConfig()
    """When training ends."""
    confirm: ConfirmConfig = ConfirmConfig()
    """The best trials once more, on fresh seeds."""
    sampler: SamplerConfig = SamplerConfig()
    """How training's parameters are suggested."""
    pruner: PrunerConfig = NoPruner(kind="none")
    """Whether a poor trial is stopped before its end."""
    report_every: PositiveInt | None = None
    """Iterations between two looks at a running trial; null is a tenth of a run."""
    workers: PositiveInt = 1
    """Trials at the same time on this machine, each a process of its own."""
    stale_seconds: Annotated[int, Field(ge=4)] = 60
    """Seconds without a heartbeat after which a worker of another machine continues a trial, where half as long again passes
    without one; on the same machine it is known at once that a worker is gone."""
    retries: Annotated[int, Field(ge=0)] = 3
    """Times that a trial whose worker died is continued before it counts as failed."""
    storage: str | None = None
    """Optuna storage: a SQLite file, ``sqlite:///…``, or the URL of a database server; null is a SQLite file in the
    study's folder."""

    @model_validator(mode="before")
    @classmethod
    def _has_no_old_key(cls, content: Any) -> Any:
        if isinstance(content, dict) and "lease_seconds" in content:
            raise ValueError("lease_seconds is now stale_seconds, a whole number of at least 4; rename it")
        return content

    @field_validator("objective")
    @classmethod
    def _known(cls, value: str | Names) -> str | Names:
        names = as_names(value)
        if not names or len(set(names)) < len(names):
            raise ValueError(f"must be one name or several that differ, got {list(names)}")
        for name in names:
            criterion(name)
        return value

    @field_validator("space")
    @classmethod
    def _has_something(cls, value: dict[str, Dimension]) -> dict[str, Dimension]:
        if not value:
            raise ValueError(
                "is empty; name a path of the arm, such as loops.entropy.law.kp: {low: 0.01, high: 10}"
            )
        return value

    @property
    def criteria(self) -> Names:
        """Names of the criteria, from the key ``objective``."""
        return as_names(self.objective)

    @property
    def simulated_criteria(self) -> Names:
        """Names of the criteria that stage one ranks by."""
        own = self.simulation.objective if self.simulation else None
        return self.criteria if own is None else as_names(own)

    @model_validator(mode="after")
    def _several_are_not_pruned(self) -> StudyConfig:
        if len(self.criteria) > 1 and self.pruner.kind != "none":
            raise ValueError(
                f"pruner.kind must be 'none' with several criteria (no order says which trial is worse), "
                f"got {self.pruner.kind!r}; collapse and explosion still stop a trial"
            )
        return self


def as_names(value: str | Names) -> Names:
    """One name or several as several."""
    return (value,) if isinstance(value, str) else tuple(value)
