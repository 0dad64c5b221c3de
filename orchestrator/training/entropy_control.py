"""The feedback loops of a run, as a Lightning callback that keeps their state in the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from controllers.bank import Bank
from controllers.base import Complaint, Trace
from controllers.loop import FeedbackLoop
from controllers.loop_state import LoopState, fits, restore
from orchestrator.configuration.learner import Measure
from orchestrator.configuration.loops import LoopConfig
from policies.actuators.base import Actuator, SamplingActuator
from policies.policy_loss import Actuation, vocabulary_of
from policies.statistics.own_sensors import use
from policies.statistics.vocabulary import VocabularyFilter
from tasks import own_code


class EntropyControl(Callback):
    """Runs a bank of loops on telemetry and hands out the actuation in force.

    All of it is plain floats.  With no loops it commands nothing, which is training without control.
    """

    def __init__(
        self,
        loops: Mapping[str, LoopConfig],
        seed: int = 0,
        limits: Mapping[str, tuple[float, float]] | None = None,
        num_iterations: int | None = None,
        ahead: int = 0,
        measure: Measure = "before_update",
    ) -> None:
        """``limits`` are those of loops whose own do not hold any more: a rollback has narrowed them.

        ``num_iterations`` is the length of the run, for references that go by it; ``ahead`` is ``rollout.ahead``, and
        ``measure`` is ``learner.measure``.
        """
        built = {
            name: _of_run(loop.build(num_iterations, ahead, measure), seed) for name, loop in loops.items()
        }
        built |= {name: _limited(built[name], *both) for name, both in (limits or {}).items()}
        self._bank = Bank(loops=built)
        use(
            {
                loop.reading: own_code.load(loop.sensor)
                for loop in loops.values()
                if own_code.is_own(loop.sensor)
            }
        )
        self._actuators: Sequence[Actuator] = [loop.actuator for loop in loops.values()]
        self._domains: Sequence[str | None] = [loop.domain for loop in loops.values()]
        self._acted = {
            name: measure == "before_update" and not isinstance(loop.actuator, SamplingActuator)
            for name, loop in loops.items()
        }
        """Whether the command of an iteration acts in it: the others wait for the next batch or update."""
        self._state = self._bank.init()
        self._commands = self._inside({})
        self.holding = False  # a guardrail says so: every loop keeps its command, as without a reading

    @property
    def vocabulary(self) -> VocabularyFilter | None:
        """The part of the vocabulary that some actuator or sensor reads, whatever the commands."""
        return vocabulary_of(self._actuators)

    @property
    def commands(self) -> Mapping[str, float]:
        """Command of each actuator that a loop moves, by `command_name`."""
        return self._commands

    @property
    def actuation(self) -> Actuation:
        """The commands in force: those of the last ``act``, before the first what the limits leave of neutral."""
        return Actuation.of(self._actuators, self._commands, self._domains)

    def act(self, telemetry: Mapping[str, float], t: int) -> dict[str, Trace]:
        """Step every loop once; the new commands are in force when this returns."""
        self._state, traces = self._bank.step(self._state, {} if self.holding else telemetry, t)
        self._commands = self._bank.commands(traces)
        return traces

    @property
    def complaints(self) -> Mapping[str, Complaint]:
        """What keeps loops from holding their setpoints, by their names; nothing of a law that does not tell."""
        return self._bank.complaints(self._state)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        use({})

    def follow(self, commands: Mapping[str, float]) -> None:
        """Put the commands of another in force: of the first rank, which decides for all."""
        self._commands = dict(commands)

    def state_dict(self) -> dict[str, Any]:
        # plain tuples: a checkpoint is read without running code, so it must name no class of ours
        return {"loops": restore(self._state), "commands": self._commands}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state, fresh = restore(state_dict["loops"]), self._bank.init()
        if len(state) != len(fresh) or not all(map(fits, state, fresh)):
            raise ValueError(
                "the loops of this checkpoint are another version's; go on with that version, or begin the run again "
                "under another name"
            )
        self._state = tuple(
            LoopState(*own).within(loop.low, loop.high, acted=self._acted[name])
            for (name, loop), own in zip(sorted(self._bank.loops.items()), state, strict=True)
        )
        self._commands = self._inside(state_dict["commands"])

    def _inside(self, commands: Mapping[str, float]) -> dict[str, float]:
        """Each loop's command, neutral where there is none, cut to its limits: a rollback may have narrowed them since."""
        return {
            loop.actuator: loop.inside(commands.get(loop.actuator, loop.neutral))
            for loop in self._bank.loops.values()
        }


def _of_run(loop: FeedbackLoop, seed: int) -> FeedbackLoop:
    """The loop with a dither that is this run's own."""
    return loop if loop.dither is None else replace(loop, dither=loop.dither.of_run(seed))


def _limited(loop: FeedbackLoop, low: float, high: float) -> FeedbackLoop:
    """The same loop inside other limits, which need not contain what is neutral."""
    return replace(loop, low=low, high=high, neutral=min(max(loop.neutral, low), high))


def trace_metrics(traces: Mapping[str, Trace]) -> dict[str, float]:
    """A trace of each loop as metrics ``loop/<name>/<letter>``; see `controllers.base` for the letters."""
    metrics: dict[str, float] = {}
    for name, trace in traces.items():
        for letter in ("y", "r", "e", "v", "u"):
            metrics[f"loop/{name}/{letter}"] = getattr(trace, letter)
        metrics[f"loop/{name}/saturated"] = float(trace.saturated)
        metrics[f"loop/{name}/held"] = float(trace.held)
        if trace.dead_time:
            metrics[f"loop/{name}/dead_time"] = float(trace.dead_time)
        metrics |= {f"loop/{name}/term/{term}": value for term, value in trace.terms.items()}
        metrics |= {f"loop/{name}/estimate/{what}": value for what, value in trace.estimates.items()}
    return metrics
