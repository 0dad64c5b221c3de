"""A feedback loop for TRL's GRPOTrainer and AsyncGRPOTrainer.

    trainer = GRPOTrainer(model, rewards, args=GRPOConfig(entropy_coef=1e-6, logging_steps=1, ...))
    EntropyControl.attach(trainer, "auto", setpoint=0.3)
    trainer.train()

At every log the loop reads the entropy that TRL reports and moves one of three numbers:

    actuator of the loop    what it moves in the trainer
    bonus                   entropy_coef = u
    clip_range              epsilon_high = configured + u
    temperature             temperature  = configured · u, of sampling and of the log-probabilities

TRL's ``entropy`` is the exact entropy of the whole vocabulary after temperature, in nats per token, over all
completion tokens of all ranks, as the metric contract asks, with two differences.  It is measured together with the
gradient: with several optimiser steps a batch, the later ones see a policy that has moved since it sampled.  TRL also
reports the plain mean over micro-batches and over the steps since the last log, so with responses of different lengths
it is not sum over sum.  With ``logging_steps`` above 1 an iteration of the loop is that many steps.

The asynchronous trainer has no entropy bonus, and its sampling temperature belongs to a process of its own, so there a
loop moves ``clip_range`` alone.  Its entropy is that of the policy that trains, on responses of older policies.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from controllers.base import Trace
from controllers.loop import FeedbackLoop
from controllers.loop_state import LoopState, fits, restore
from orchestrator.integrations.presets import loop_from_preset

READINGS = ("entropy", "reward", "learning_rate")
"""What of TRL's log a loop can read."""

EVERYWHERE = ("entropy", "learning_rate")
"""Those that the asynchronous trainer has on every rank."""

KEY = "entrostat"
"""Key of the loop's state in the trainer's, and so in ``trainer_state.json`` of each checkpoint."""

_CLIPPED = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo", "cispo")
Knob = Callable[[float], None]


class EntropyControl(TrainerCallback):  # type: ignore[misc]
    """Steps a loop at each log of the trainer and puts its command in force; see `attach`.

    The state is saved with every checkpoint and comes back with ``trainer.train(resume_from_checkpoint=...)``; with
    ``logging_steps=1`` the commands go on as if nothing had been.  What the loop did is in the log that it was stepped
    at, as ``loop/y`` to ``loop/u``, and so on the console, in every tracker of ``report_to`` and in
    ``trainer.state.log_history``.
    """

    def __init__(self, loop: FeedbackLoop, knob: Knob) -> None:
        self._loop = loop
        self._knob = knob
        self._begin()

    @classmethod
    def attach(
        cls,
        trainer: Any,
        loop: FeedbackLoop | str | Path,
        *,
        setpoint: float | None = None,
        limits: tuple[float, float] | None = None,
    ) -> EntropyControl:
        """Put a loop on a ``GRPOTrainer`` or an ``AsyncGRPOTrainer``, before ``train``.

        Args:
            trainer: what the loop reads and moves.
            loop: a loop, or the preset that has one, as `loop_from_preset` takes it.
            setpoint: in place of the preset's reference [nats/token].
            limits: in place of the preset's [actuator's unit].

        Raises:
            ValueError: the loop reads what TRL does not report, its command could move nothing in this trainer, or
                setpoint and limits do not fit the preset or came with a loop.
        """
        if not isinstance(loop, FeedbackLoop):
            loop = loop_from_preset(loop, setpoint=setpoint, limits=limits)
        elif setpoint is not None or limits is not None:
            raise ValueError(
                "setpoint and limits are for a preset, such as 'auto'; a loop has its own: set them where it is made"
            )
        # The experimental module of the asynchronous trainer is not imported for an isinstance: it warns.
        is_async = hasattr(trainer, "rollout_worker")
        # The asynchronous trainer has rewards on the first rank alone, and all ranks need one command.
        readings = READINGS if not is_async or trainer.accelerator.num_processes == 1 else EVERYWHERE
        unknown = sorted(set(loop.reads) - set(readings))
        if unknown:
            raise ValueError(
                f"TRL does not report {', '.join(unknown)} here; a loop can read {', '.join(readings)}"
            )
        knobs = _ASYNC_KNOBS if is_async else _KNOBS
        if loop.actuator not in knobs:
            raise ValueError(
                f"actuator must be one of {', '.join(knobs)} for {type(trainer).__name__}, got {loop.actuator!r}"
            )
        control = cls(loop, knobs[loop.actuator](trainer))
        # Trackers and the console read the log when their turn comes, so the loop has to write into it first.
        trainer.callback_handler.callbacks.insert(0, control)
        return control

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Restore the state of the checkpoint that the trainer continues from, if any."""
        self._begin()
        stored = state.stateful_callbacks.get(KEY)
        if stored is not None:
            if not fits(stored["loop"], self._loop.init()):
                raise ValueError(
                    "the loop of this checkpoint is another one or another version's; go on with that, or begin the training again"
                )
            # The command of the last log acts from the next step on, so limits that are narrower now cut it before.
            last = LoopState(*restore(stored["loop"]))
            self._state, self._t = last.within(self._loop.low, self._loop.high, acted=False), stored["t"]
            self.command = self._loop.inside(stored["command"])
        self._knob(self.command)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any],
        **_: Any,
    ) -> None:
        """One iteration of the loop; evaluations and summaries are none."""
        if "entropy" not in logs:
            return
        telemetry = {name: float(logs[name]) for name in READINGS if logs.get(name) is not None}
        self._state, trace = self._loop.step(self._state, telemetry, self._t)
        self._t += 1
        self.command = trace.u
        self._knob(self.command)
        metrics = _metrics(trace)
        logs.update(metrics)
        state.log_history[-1] |= metrics
        state.stateful_callbacks[KEY] = {"loop": self._state, "t": self._t, "command": self.command}

    def _begin(self) -> None:
        self._state, self._t, self.command = self._loop.init(), 0, self._loop.neutral


def _metrics(trace: Trace) -> dict[str, float]:
    """The trace for trackers; without a reading there is no y, r and e, and many of them take no nan."""
    letters = {f"loop/{letter}": float(getattr(trace, letter)) for letter in ("y", "r", "e", "v", "u")}
    finite = {name: value for name, value in letters.items() if isfinite(value)}
    return finite | {"loop/saturated": float(trace.saturated), "loop/held": float(trace.held)}


def _bonus(trainer: Any) -> Knob:
    if trainer.args.use_adaptive_entropy:
        raise ValueError("use_adaptive_entropy moves entropy_coef already; set it to False")
    if trainer.args.entropy_coef == 0.0:
        raise ValueError(
            "entropy_coef is 0, and so TRL leaves the bonus out for the whole run; set it to another "
            "value, such as 1e-6, which the loop replaces before the first step"
        )

    def turn(command: float) -> None:
        trainer.entropy_coef = command

    return turn


def _clip_range(trainer: Any) -> Knob:
    args = trainer.args
    if args.loss_type not in _CLIPPED:
        raise ValueError(f"loss_type {args.loss_type!r} has no upper clip; take one of {', '.join(_CLIPPED)}")
    if args.num_iterations == 1 and args.steps_per_generation <= args.gradient_accumulation_steps:
        raise ValueError(
            "with one optimiser step a batch the ratio is 1 and nothing is clipped; raise num_iterations or "
            "steps_per_generation, or take another actuator"
        )
    return _epsilon_high(trainer)


def _epsilon_high(trainer: Any) -> Knob:
    configured = trainer.epsilon_high

    def turn(command: float) -> None:
        trainer.epsilon_high = configured + command

    return turn


def _temperature(trainer: Any) -> Knob:
    args = trainer.args
    if args.use_vllm:
        raise ValueError(
            "the temperature of vLLM was not tried here; set use_vllm=False, or take another actuator"
        )
    if args.steps_per_generation * args.num_iterations != args.gradient_accumulation_steps:
        raise ValueError(
            "the temperature must not change between the optimiser steps of one batch; set num_iterations=1 and "
            "steps_per_generation to gradient_accumulation_steps, or take another actuator"
        )
    from trl.trainer.utils import add_fused_lm_head

    # TRL binds the temperature of the log-probabilities when it is made: a head of the new one is put over it.
    heads: list[tuple[Any, tuple[str, ...]]] = [(_base(trainer.model), ("log_probs", "entropy"))]
    if trainer.ref_model is not None:
        heads.append((_base(trainer.ref_model), ("log_probs",)))
    forwards = [model.forward for model, _ in heads]
    configured = trainer.temperature

    def turn(command: float) -> None:
        trainer.temperature = configured * command
        trainer.generation_config.temperature = trainer.temperature
        trainer.generation_kwargs["temperature"] = trainer.temperature
        for (model, outputs), forward in zip(heads, forwards, strict=True):
            model.forward = forward
            add_fused_lm_head(
                model,
                temperature=trainer.temperature,
                cast_lm_head_to_fp32=args.cast_lm_head_to_fp32,
                outputs=outputs,
            )

    return turn


def _base(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


_KNOBS: dict[str, Callable[[Any], Knob]] = {
    "bonus": _bonus,
    "clip_range": _clip_range,
    "temperature": _temperature,
}
_ASYNC_KNOBS: dict[str, Callable[[Any], Knob]] = {"clip_range": _epsilon_high}
