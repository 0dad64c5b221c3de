"""Several detectors side by side, each with its own reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controllers.base import State
from controllers.guardrails.base import Detector, Verdict


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
    """The posts, in the order of their states and verdicts."""

    def init(self) -> State:
        """State before the first iteration: that of each post."""
        return tuple(post.detector.init() for post in self.posts)

    def step(
        self, state: State, telemetry: Mapping[str, float]
    ) -> tuple[State, tuple[tuple[Post, Verdict], ...]]:
        """Take what one iteration measured; give the new state and a verdict of each post."""
        states: list[State] = []
        verdicts: list[tuple[Post, Verdict]] = []
        for post, own in zip(self.posts, state, strict=True):
            shown = {name: telemetry[source] for name, source in post.readings.items() if source in telemetry}
            own, verdict = post.detector.step(own, {**telemetry, **_hidden(post), **shown})
            states.append(own)
            verdicts.append((post, verdict))
        return tuple(states), tuple(verdicts)


def _hidden(post: Post) -> dict[str, float]:
    """What is renamed and missing is missing: nothing else of that name stands in for it."""
    return dict.fromkeys(post.readings, float("nan"))
