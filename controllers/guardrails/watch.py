"""Several detectors side by side, each with its own reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controllers.base import State
from controllers.guardrails.base import Detector, Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A detector and which readings it is shown for those that it names."""

    detector: Detector
    """What looks."""

    readings: Mapping[str, str] = field(default_factory=dict)
    """Name in the telemetry by the name that the detector reads; others are as they are."""

    subject: str = ""
    """Name of the loop that is looked at; "" is the whole run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Posts that step together, with the shape of one detector."""

    posts: tuple[Post, ...]
    """The posts, in the order of their states and readings."""

    def init(self) -> State:
        """State before the first iteration: that of each post."""
        return tuple(post.detector.init() for post in self.posts)

    def step(
        self, state: State, telemetry: Mapping[str, float]
    ) -> tuple[State, tuple[tuple[Post, Reading], ...]]:
        """Take what one iteration measured; give the new state and a reading of each post."""
        states: list[State] = []
        readings: list[tuple[Post, Reading]] = []
        for post, own in zip(self.posts, state, strict=True):
            shown = {name: telemetry[source] for name, source in post.readings.items() if source in telemetry}
            own, reading = post.detector.step(own, {**telemetry, **_hidden(post), **shown})
            states.append(own)
            readings.append((post, reading))
        return tuple(states), tuple(readings)


def _hidden(post: Post) -> dict[str, float]:
    """What is renamed and missing is missing: nothing else of that name stands in for it."""
    return dict.fromkeys(post.readings, float("nan"))
