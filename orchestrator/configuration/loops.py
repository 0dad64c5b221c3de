"""The section ``loops``: what each feedback loop reads, aims at and moves, and for how long its commands wait."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator, model_validator

from controllers.base import Dither, Feedforward, Filter, Law, Reference
from controllers.laws import LAWS
from controllers.laws.auto import Auto
from controllers.laws.open_loop import OpenLoop
from controllers.laws.pid import PID
from controllers.loop import FeedbackLoop
from controllers.parts.coverage import Coverage
from controllers.parts.dither import DITHERS
from controllers.parts.feedforward import FEEDFORWARDS
from controllers.parts.filters import FILTERS, Hold
from controllers.parts.references import AUTO, REFERENCES, Free
from controllers.plants.plant import Plant
from orchestrator.configuration.learner import Measure
from orchestrator.configuration.own_families import OWN
from orchestrator.configuration.part_schema import Strict, one_of, section
from orchestrator.storage.metric_names import FAMILIES, recorded_name
from policies.actuators import ACTUATORS
from policies.actuators.base import Actuator, SamplingActuator, command_name
from policies.statistics.own_sensors import OWN as OWN_READING
from policies.statistics.sensors import DOMAIN
from tasks import own_code

AnyLaw = Annotated[
    Law,
    one_of(LAWS, nested={PID: one_of({PID.kind: PID})}, by_name=True, own=OWN[Law]),
]
AnyFilter = Annotated[Filter, one_of(FILTERS, own=OWN[Filter])]
AnyReference = Annotated[
    Reference,
    one_of(
        REFERENCES,
        nested={Reference: one_of(REFERENCES)},
        by_name=True,
        aliases=AUTO,
        own=OWN[Reference],
    ),
]
AnyFeedforward = Annotated[Feedforward, one_of(FEEDFORWARDS, own=OWN[Feedforward])]
AnyDither = Annotated[Dither, one_of(DITHERS, own=OWN[Dither])]
AnyActuator = Annotated[Actuator, one_of(ACTUATORS, own=OWN[Actuator])]

UP = "up"
"""Limits from the neutral command to the highest."""


def dead_time(actuator: Actuator, ahead: int, measure: Measure) -> int:
    """Iterations for which a command waits in a run with such ``rollout.ahead`` and ``learner.measure``.

    A command on sampling waits for a batch that is not begun yet.  One on the update does not: the next reading is
    of the policy that it made, on whatever responses.  If the update itself measures, the command comes after it and
    waits for the next.
    """
    if isinstance(actuator, SamplingActuator):
        return ahead
    return 1 if measure == "in_update" else 0


class LoopConfig(Strict):
    """One feedback loop: sensor, reference, law, actuator."""

    domain: Annotated[str, Field(min_length=1)] | None = None
    """Kind of problem that the loop is for, such as ``add2``; null is all of them.  Its actuator moves the
    responses to these problems and no others, and its sensor ``entropy`` is ``entropy/domain/<domain>``.
    While a batch has none of them the loop holds its command.  Loops of different domains may drive
    actuators of the same kind."""
    sensor: str = "entropy"
    """Signal that is controlled; `entrostat list sensors` names them all.  One of your own is a function of the
    batch, ``parts.py:my_sensor``, and its reading is ``own/my_sensor``.  The name that MLflow shows, such as
    ``entropy/mean``, stands for the same signal."""
    filter: AnyFilter = Hold()
    """Smoothing of the sensor's reading before the law sees it."""
    reference: AnyReference = Coverage()
    """Target of the sensor's reading; ``auto`` is another name of ``coverage``, which has no number to guess.  An open
    loop has none unless it says one, and only an open loop does without."""
    law: AnyLaw = Auto()
    """Control law: turns the error between reference and reading into a command; ``auto`` has no gains."""
    actuator: AnyActuator
    """What in the update the command moves."""
    feedforward: AnyFeedforward | None = None
    """A share of the command that answers what another reading predicts, before entropy shows it."""
    dither: AnyDither | None = None
    """A known movement added to the command, from which `entrostat identify` learns the plant."""
    limits: tuple[float, float] | None = None
    """Lowest and highest command; null takes the actuator's whole range, ``up`` the part of it that raises entropy, so that
    the loop leaves the fall of entropy to the reward."""
    gains_range: PositiveFloat | None = None
    """Range that the law's settings are for: the larger distance from neutral to a limit [actuator's unit].  On
    limits with another range, or another actuator, the law's command is scaled to it, so that its settings keep
    their meaning.  null: they are in the actuator's unit, as the value of an open loop always is."""
    slew: PositiveFloat | None = None
    """Largest change of the command in one iteration; null is unlimited."""
    dead_band_nats: Annotated[float, Field(ge=0)] = 0.0
    """Errors smaller than this count as zero [nats/token]."""
    period: PositiveInt = 1
    """Iterations between two commands."""
    plant: Annotated[Plant, section(Plant)] | None = None
    """What the gains were designed for; changes no result, the report predicts with it."""

    @model_validator(mode="after")
    def _range_has_gains(self) -> LoopConfig:
        if self.gains_range is not None and self.plant is not None:
            raise ValueError(
                "gains_range: gains designed for a plant are in the actuator's unit, as the plant is; leave it out"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _open_loops_have_no_setpoint(cls, loop: Any) -> Any:
        if not isinstance(loop, dict) or "reference" in loop:
            return loop
        law = loop.get("law")
        kind = law.get("kind") if isinstance(law, dict) else law
        return loop | {"reference": {"kind": Free.kind}} if kind == OpenLoop.kind else loop

    @model_validator(mode="before")
    @classmethod
    def _entropy_of_its_domain(cls, loop: Any) -> Any:
        if not isinstance(loop, dict) or loop.get("domain") is None:
            return loop
        is_plain = loop.get("sensor", "entropy") in ("entropy", FAMILIES["entropy"])
        return loop | {"sensor": f"{DOMAIN}{loop['domain']}"} if is_plain else loop

    @field_validator(
        "limits", mode="before", json_schema_input_type=tuple[float, float] | Literal["up"] | None
    )
    @classmethod
    def _up(cls, limits: Any, info: ValidationInfo) -> Any:
        if not isinstance(limits, str) or "actuator" not in info.data:  # its own fault is said
            return None if isinstance(limits, str) else limits
        if limits != UP:
            raise ValueError(f"must be [low, high], {UP} or null, got {limits!r}")
        command = info.data["actuator"].command
        return None if command.low == command.neutral else (command.neutral, command.high)

    @field_validator("sensor")
    @classmethod
    def _recorded_or_own(cls, sensor: str) -> str:
        if own_code.is_own(sensor):
            function = own_code.load(sensor)
            if isinstance(function, type) or not callable(function):
                raise ValueError(
                    f"{sensor} must be a function of a TokenBatch, got {function!r:.60}; name one"
                )
        return recorded_name(sensor)

    @property
    def reading(self) -> str:
        """Name of the sensor's reading in the telemetry."""
        return (
            f"{OWN_READING}{own_code.name_of(self.sensor)}" if own_code.is_own(self.sensor) else self.sensor
        )

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest command [actuator's unit]."""
        return self.limits or (self.actuator.command.low, self.actuator.command.high)

    @property
    def unit(self) -> float:
        """Command that the law counts as 1 [actuator's unit]."""
        if self.gains_range is None or isinstance(self.law, OpenLoop):
            return 1.0
        (low, high), neutral = self.bounds, self.actuator.command.neutral
        return max(high - neutral, neutral - low) / self.gains_range

    def build(
        self, num_iterations: int | None = None, ahead: int = 0, measure: Measure = "before_update"
    ) -> FeedbackLoop:
        """The loop on plain floats that the controller layer runs, in a run of that length.

        ``ahead`` is its ``rollout.ahead``, and ``measure`` its ``learner.measure``.
        """
        command = self.actuator.command
        low, high = self.bounds
        domain = self.domain
        if domain is None and self.sensor.startswith(DOMAIN):
            domain = self.sensor.removeprefix(DOMAIN)
        return FeedbackLoop(
            sensor=self.reading,
            filter=self.filter,
            reference=self.reference.of_run(domain=domain, num_iterations=num_iterations),
            law=self.law,
            actuator=command_name(self.actuator.kind, self.domain),
            low=low,
            high=high,
            neutral=command.neutral,
            unit=self.unit,
            origin=0.0 if self.gains_range is None or isinstance(self.law, OpenLoop) else command.neutral,
            feedforward=self.feedforward,
            dither=self.dither,
            slew=self.slew or float("inf"),
            dead_band_nats=self.dead_band_nats,
            period=self.period,
            dead_time=dead_time(self.actuator, ahead, measure),
        )
