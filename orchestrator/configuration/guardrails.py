"""The section ``guardrails`` of a campaign, a method or an arm."""

from __future__ import annotations

from math import inf
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, Field, field_validator

from controllers.guardrails.base import Action, Detector, Side, check_settings
from controllers.guardrails.collapse import Collapse
from controllers.guardrails.decline import Decline
from controllers.guardrails.explosion import Explosion
from controllers.guardrails.mismatch import Mismatch
from controllers.guardrails.plateau import Plateau
from controllers.guardrails.repetition import Repetition
from controllers.guardrails.stagnation import Stagnation
from controllers.guardrails.starvation import Starvation
from controllers.guardrails.truncation import Truncation
from orchestrator.configuration.own_families import OWN
from orchestrator.configuration.part_schema import Strict, one_of, section, to_plain
from orchestrator.errors import one_line, short

PASSIVE: tuple[Action, ...] = ("warn",)
"""Actions that leave a run as it is."""


def _sound(detector: Detector) -> Detector:
    """A detector of a user's own, where it has all that a run asks of it later; its class is looked at before."""
    for key, kinds in (("threshold", (int, float)), ("patience", (int,)), ("action", (str,))):
        value = getattr(detector, key, None)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise ValueError(
                f"{key} must be a field, {kinds[-1].__name__}, got {short(value)}; set it in the class"
            )
    try:
        check_settings(detector, low=-inf, high=inf)
    except ValueError as error:
        raise ValueError(f"{error}; change it") from error
    for key, known in (("direction", ("below", "above")), ("side", get_args(Side))):
        if getattr(detector, key) not in known:
            raise ValueError(
                f"{key} must be one of {', '.join(known)}, got {short(getattr(detector, key))}; change it"
            )
    if not _are_texts(detector.measures) or len(detector.measures) != 2:
        raise ValueError(
            f"measures must be what it reads and the unit, two texts, got {short(detector.measures)}; write both"
        )
    try:
        reads = detector.reads
    except Exception as error:
        raise ValueError(
            f"reads must name readings, and raises: {one_line(error)}; set reading in the class of a Ceiling, or mend reads"
        ) from error
    if not _are_texts(reads) or not all(reads):
        raise ValueError(f"reads must be a tuple of names of readings, got {short(reads)}; name them")
    return detector


def _are_texts(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(each, str) for each in value)


class GuardrailsConfig(Strict):
    """What a run watches itself for, and what it does then.  A detector that is null does not look.

    All of them warn unless told otherwise: each is a symptom that some healthy run has shown, and training
    that goes on can be judged later, one that was stopped cannot.
    """

    enabled: bool = True
    """false switches all of them off."""
    collapse: Annotated[Collapse, section(Collapse)] | None = Collapse()
    """Entropy far below its setpoint, or nearly spent; null does not look for it."""
    explosion: Annotated[Explosion, section(Explosion)] | None = Explosion()
    """Entropy far above its setpoint; null does not look for it."""
    truncation: Annotated[Truncation, section(Truncation)] | None = Truncation()
    """Too many responses cut at the token limit; null does not look for it."""
    repetition: Annotated[Repetition, section(Repetition)] | None = Repetition()
    """Responses that repeat themselves; null does not look for it."""
    starvation: Annotated[Starvation, section(Starvation)] | None = Starvation()
    """Too many groups whose rewards are all equal and so teach nothing; null does not look for it."""
    mismatch: Annotated[Mismatch, section(Mismatch)] | None = Mismatch()
    """An engine whose log-probabilities differ from the learner's; null does not look for it."""
    stagnation: Annotated[Stagnation, section(Stagnation)] | None = Stagnation()
    """A reward that has stopped rising; null does not look for it."""
    decline: Annotated[Decline, section(Decline)] | None = Decline()
    """A reward below where it began; null does not look for it."""
    plateau: Annotated[Plateau, section(Plateau)] | None = None
    """An evaluation that has stopped rising: with ``action: stop`` the run ends early; null does not look for it."""
    own: tuple[Annotated[Detector, one_of({}, own=OWN[Detector]), AfterValidator(_sound)], ...] = ()
    """Detectors of your own, each ``{kind: "parts.py:MyDetector", ...}``."""
    max_rollbacks: Annotated[int, Field(ge=1)] = 2
    """Rollbacks of a run; where one more would be due, it is stopped."""
    limit_factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """What a rollback leaves of the command that a loop gave while it failed, counted from neutral."""

    @field_validator("own")
    @classmethod
    def _each_has_its_name(cls, own: tuple[Detector, ...]) -> tuple[Detector, ...]:
        names = [each.name for each in own]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"must have different names, got {name!r} twice; remove one")
        return own

    @property
    def detectors(self) -> dict[str, Detector]:
        """Those that look, by name."""
        if not self.enabled:
            return {}
        found = {name: getattr(self, name) for name in type(self).model_fields}
        ours = {name: value for name, value in found.items() if isinstance(value, Detector)}
        return ours | {each.name: each for each in self.own}

    @property
    def deciding(self) -> dict[str, Any]:
        """What of it can change what a run comes to, as YAML can hold it; empty where all of them only warn."""
        acting = {name: each for name, each in self.detectors.items() if each.action not in PASSIVE}
        rollback = ("max_rollbacks", "limit_factor") if self.with_action("rollback") else ()
        plain: dict[str, Any] = to_plain(acting | {name: getattr(self, name) for name in rollback})
        return plain

    def with_action(self, action: Action) -> list[str]:
        """Detectors that look and have an action, by name."""
        return [name for name, detector in self.detectors.items() if detector.action == action]
