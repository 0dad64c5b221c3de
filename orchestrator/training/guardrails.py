"""Guardrails of a run, as a Lightning callback that keeps their state in the checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from controllers.guardrails.base import ENTROPY, SETPOINT, Reading
from controllers.guardrails.watch import Post, Watch
from controllers.loop_state import restore
from controllers.parts.references import Free
from orchestrator.configuration.evaluation import EVALUATION
from orchestrator.configuration.loops import LoopConfig
from orchestrator.configuration.models import RunConfig
from orchestrator.storage.guardrail_files import GOES_BACK_FOR, Event, append_event
from orchestrator.storage.run_folder import RunFolder
from orchestrator.training.entropy_control import EntropyControl
from policies.statistics.sensors import signal

log = logging.getLogger(__name__)


class GuardrailStop(Exception):  # noqa: N818 - the run did as its campaign says
    """A guardrail ends the run; its message is the reason."""


class EvaluationStop(GuardrailStop):
    """The same after an evaluation: nothing failed in the iterations before it, and they are to be kept."""


class RollbackDue(Exception):  # noqa: N818 - as above
    """A guardrail wants the run to go back to its last good checkpoint."""

    def __init__(self, event: Event) -> None:
        super().__init__(event.reason)
        self.event = event


class Guardrails(Callback):
    """Watches what every iteration measured, and acts on it; passes on what a loop's law says of itself.

    ``hold`` is in force from the next iteration on, since the command of this one is given when its responses
    are not judged yet.  ``rollback`` and ``stop`` are raised after the iteration and before
    anything of it is saved; what an evaluation stops is saved as it is.  A run whose detectors do
    nothing but warn is bit-identical to one without.
    """

    def __init__(
        self, config: RunConfig, control: EntropyControl, folder: RunFolder | None, *, attempt: int
    ) -> None:
        """``folder`` is for events, None on a rank that does not write; ``attempt`` counts rollbacks so far."""
        self._watch = Watch(posts=tuple(_posts(config)))
        self._state = dict(zip(self._keys, self._watch.init(), strict=True))
        self._tripped: set[str] = set()
        self._beyond: set[str] = set()
        self._said: set[str] = set()  # complaints of laws; each is an event once
        self._control = control
        self._folder = folder
        self._attempt = attempt
        self._due: Event | None = None

    @property
    def _keys(self) -> list[str]:
        return [_key(post) for post in self._watch.posts]

    @property
    def can_roll_back(self) -> bool:
        """Whether any detector may take iterations back."""
        return any(post.detector.action == "rollback" for post in self._watch.posts)

    @property
    def can_end(self) -> bool:
        """Whether any detector may end the run, at once or after rollbacks."""
        return any(post.detector.action in GOES_BACK_FOR for post in self._watch.posts)

    @property
    def is_good(self) -> bool:
        """Whether the last iteration was one to go back to: nothing that ends or rolls back the run had begun."""
        return not any(
            post.detector.action in GOES_BACK_FOR and _key(post) in self._beyond for post in self._watch.posts
        )

    def watch(self, iteration: int, metrics: Mapping[str, float]) -> dict[str, float]:
        """Look at what an iteration measured; give a metric ``guard/<detector>`` for each: 1 where it tripped."""
        states, readings = self._watch.step(tuple(self._state[key] for key in self._keys), metrics)
        self._state = dict(zip(self._keys, states, strict=True))
        before, self._tripped = self._tripped, {_key(post) for post, said in readings if said.tripped}
        self._beyond = {_key(post) for post, said in readings if said.beyond}
        self._set_hold()
        for post, reading in readings:
            if reading.tripped and _key(post) not in before:
                self._fire(_event(iteration, post, reading, self._attempt))
        self._pass_on_complaints(iteration)
        found: dict[str, float] = {}
        for post, reading in readings:
            name = f"guard/{post.detector.name}"
            found[name] = max(found.get(name, 0.0), float(reading.tripped))
        return found

    @property
    def read_evaluations(self) -> bool:
        """Whether any detector looks at what an evaluation measures."""
        return any(read.startswith(EVALUATION) for post in self._watch.posts for read in post.detector.reads)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.act()  # on what an evaluation found just before the process was killed

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        self.act()

    def act(self) -> None:
        """End the run, or take it back, where a detector that tripped says so.

        Raises:
            GuardrailStop: the run ends.
            RollbackDue: it goes back.
        """
        if self._due is None:
            return
        if self._due.action == "stop":
            raise GuardrailStop(self._due.reason)
        raise RollbackDue(self._due)

    def act_on_evaluation(self, *, is_last: bool) -> None:
        """As `act`, but that the evaluation after the last iteration has nothing left to stop.

        Raises:
            EvaluationStop: the run ends.
            RollbackDue: it goes back.
        """
        if self._due is not None and self._due.action == "stop":
            if not is_last:
                raise EvaluationStop(self._due.reason)
            self._due = None
        self.act()

    def state_dict(self) -> dict[str, Any]:
        states = {
            key: restore(state) for key, state in self._state.items()
        }  # plain: a checkpoint has no classes
        return {
            "states": states,
            "tripped": sorted(self._tripped),
            "beyond": sorted(self._beyond),
            "said": sorted(self._said),
            "due": None if self._due is None else asdict(self._due),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        due = state_dict.get("due")
        self._due = None if due is None else Event(**due)
        known = set(self._state)  # a detector that only warns may have come or gone since
        if self._due is not None and self._due.attempt < self._attempt:
            # The run was continued since: the detector that had stopped it begins afresh.
            known.discard(_key(self._due))
            self._due = None
        self._state |= {key: restore(state) for key, state in state_dict["states"].items() if key in known}
        self._tripped = set(state_dict["tripped"]) & known
        self._beyond = set(state_dict["beyond"]) & known
        self._said = set(state_dict.get("said", ()))
        self._set_hold()

    def _pass_on_complaints(self, iteration: int) -> None:
        """Make an event of what a law says of itself, once a run for each loop and kind of complaint."""
        for name, complaint in self._control.complaints.items():
            key = f"{complaint.kind}@{name}"
            if key not in self._said:
                self._said.add(key)
                self._fire(
                    Event(
                        iteration=iteration,
                        detector=complaint.kind,
                        subject=name,
                        reason=f"{complaint.kind}: the loop {name!r} says: {complaint.sentence}",
                        attempt=self._attempt,
                    )
                )

    def _set_hold(self) -> None:
        self._control.holding = any(
            post.detector.action == "hold" and _key(post) in self._tripped for post in self._watch.posts
        )

    def _fire(self, event: Event) -> None:
        log.warning("guardrail, iteration %d: %s (%s)", event.iteration, event.reason, event.action)
        if self._folder is not None:
            append_event(self._folder.events_path, event)
        if event.action == "stop" or (event.action == "rollback" and self._due is None):
            self._due = event


def _posts(config: RunConfig) -> Iterator[Post]:
    """Detectors of entropy look at each loop that has a setpoint for it, or else at the policy's entropy."""
    loops = {name: loop for name, loop in config.loops.items() if _sets_entropy(loop)}
    for detector in config.guardrails.detectors.values():
        if ENTROPY not in detector.reads or not loops:
            yield Post(detector=detector)
            continue
        for name, loop in loops.items():
            readings = {ENTROPY: loop.reading, SETPOINT: f"loop/{name}/r"}
            yield Post(detector=detector, readings=readings, subject=name)


def _sets_entropy(loop: LoopConfig) -> bool:
    return not isinstance(loop.reference, Free) and signal(loop.reading).unit == "nats/token"


def _key(of: Post | Event) -> str:
    detector = of.detector.name if isinstance(of, Post) else of.detector
    return f"{detector}@{of.subject}" if of.subject else detector


def _event(iteration: int, post: Post, reading: Reading, attempt: int) -> Event:
    detector = post.detector
    what, unit = detector.measures
    of = f" of the loop {post.subject!r}" if post.subject else ""
    reason = (
        f"{detector.name}: {what}{of} was {detector.direction} {reading.limit:.3g}{unit} "
        f"for {detector.patience} {detector.counts}, last {reading.value:.3g}"
    )
    return Event(
        iteration=iteration,
        detector=detector.name,
        subject=post.subject,
        value=reading.value,
        threshold=reading.limit,
        patience=detector.patience,
        action=detector.action,
        reason=reason,
        attempt=attempt,
    )
