"""A loop on TRL's own trainer, with a tiny model: its command acts, its state is in the checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from controllers import PID, Constant, FeedbackLoop
from controllers.loop_state import LoopState
from tests.orchestrator.integrations.tiny import make_policy

trl = pytest.importorskip("trl", reason="the extra 'trl' is not installed")
pytestmark = [
    pytest.mark.trains,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]  # of libraries about one another

from transformers import TrainerState  # noqa: E402

from orchestrator.integrations.trl import EntropyControl  # noqa: E402


def loop_of(actuator, low, high, neutral=0.0, value_nats=5.0, kp=0.1, ki=0.01, sensor="entropy"):
    law = PID(kp=kp, ki=ki)
    return FeedbackLoop(
        sensor=sensor, reference=Constant(value_nats=value_nats), law=law, actuator=actuator,
        low=low, high=high, neutral=neutral,
    )  # fmt: skip


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return make_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture
def trainer_of(policy, tmp_path):
    """A trainer of the tiny policy whose reward grows with the share of a letter."""
    from datasets import Dataset

    def make(steps=3, folder="out", reward=1.0, **settings):
        torch.manual_seed(0)
        arguments = trl.GRPOConfig(
            **{
                "output_dir": str(tmp_path / folder),
                "per_device_train_batch_size": 8,
                "num_generations": 4,
                "max_completion_length": 6,
                "max_steps": steps,
                "learning_rate": 1e-2,
                "lr_scheduler_type": "constant",
                "entropy_coef": 1e-6,
                "logging_steps": 1,
                "save_steps": 2,
                "bf16": False,
                "gradient_checkpointing": False,
                "use_cpu": True,
                "report_to": [],
                "disable_tqdm": True,
                "seed": 3,
                **settings,
            }
        )
        return trl.GRPOTrainer(
            model=str(policy),
            reward_funcs=lambda completions, **_: [reward * text.count("a") / 6 for text in completions],
            args=arguments,
            train_dataset=Dataset.from_list([{"prompt": text} for text in ("ab", "ba", "cd", "dc")] * 4),
        )

    return make


def column(trainer, name):
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def weights(trainer):
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


def test_the_loop_reads_what_trl_reports_and_its_command_is_in_force(trainer_of):
    trainer = trainer_of()
    loop = loop_of("bonus", -1.0, 1.0)
    control = EntropyControl.attach(trainer, loop)
    trainer.train()
    readings = column(trainer, "entropy")
    assert column(trainer, "loop/y") == readings
    assert len(readings) == 3
    state, commands = loop.init(), []
    for t, reading in enumerate(readings):
        state, trace = loop.step(state, {"entropy": reading}, t)
        commands.append(trace.u)
    assert column(trainer, "loop/u") == commands
    assert trainer.entropy_coef == control.command == commands[-1]
    # TRL logs the coefficient that a step was made with: that of the step before.
    assert column(trainer, "entropy_coef") == [0.0, *commands[:-1]]


def test_trackers_and_the_console_show_what_the_loop_did(trainer_of, capsys):
    from transformers import TrainerCallback

    shown = []

    class Tracker(TrainerCallback):
        """Takes what a log holds when its turn comes, as those of ``report_to`` do."""

        def on_log(self, args, state, control, logs, **_):
            shown.append(dict(logs))

    trainer = trainer_of(steps=2)
    trainer.add_callback(Tracker())  # before the loop, as those of report_to are
    EntropyControl.attach(trainer, loop_of("bonus", -1.0, 1.0))
    trainer.train()
    steps = [log for log in shown if "entropy" in log]
    for letter in "yrevu":
        assert [log[f"loop/{letter}"] for log in steps] == column(trainer, f"loop/{letter}")
    assert len(steps) == 2
    assert capsys.readouterr().out.count("'loop/u': ") == 2


def test_tensorboard_shows_what_the_loop_did(trainer_of, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    trainer = trainer_of(steps=2, report_to="tensorboard")
    EntropyControl.attach(trainer, loop_of("bonus", -1.0, 1.0))
    trainer.train()
    board = EventAccumulator(str(tmp_path / "board"))
    board.Reload()
    shown = [(event.step, event.value) for event in board.Scalars("train/loop/u")]
    assert [step for step, _ in shown] == [1, 2]
    assert [value for _, value in shown] == pytest.approx(column(trainer, "loop/u"))


def test_a_log_without_a_reading_has_no_nan_for_trackers(trainer_of):
    trainer = trainer_of(steps=1)
    control = EntropyControl.attach(trainer, loop_of("bonus", -1.0, 1.0))
    trainer.state.log_history.append({})
    logs = {"entropy": None}
    control.on_log(trainer.args, trainer.state, trainer.control, logs)
    assert logs == {"entropy": None, "loop/v": 0.0, "loop/u": 0.0, "loop/saturated": 0.0, "loop/held": 1.0}


def test_the_preset_auto_holds_a_share_of_the_first_entropies(trainer_of):
    trainer = trainer_of()
    EntropyControl.attach(trainer, "auto")
    trainer.train()
    readings = column(trainer, "entropy")
    # The setpoint is the reading until three of them make the anchor.
    assert column(trainer, "loop/r") == pytest.approx([*readings[:2], 0.7 * sum(readings) / 3])
    assert column(trainer, "loop/held") == [0.0] * 3
    # The first commands are the law's own probe, positive; with the setpoint far below entropy it turns back.
    before, after = column(trainer, "loop/u")[-2:]
    assert after < before


def test_a_setpoint_and_limits_in_the_call_are_the_loops(trainer_of):
    trainer = trainer_of()
    EntropyControl.attach(trainer, "auto", setpoint=5.0, limits=(0, 1e-3))
    trainer.train()
    assert column(trainer, "loop/r") == [5.0] * 3
    assert column(trainer, "loop/u")[-1] == 1e-3  # entropy is far below: the command is at its limit
    assert column(trainer, "loop/saturated")[-1] == 1.0


@pytest.mark.parametrize(
    ("loop", "given", "message"),
    [
        ("auto", {"limits": (0.5, 1)}, r"auto: loops.entropy.limits: must contain the neutral command 0 of 'bonus'"),
        (loop_of("bonus", -1, 1), {"setpoint": 0.3}, "setpoint and limits are for a preset, such as 'auto'; a loop has"),
        (loop_of("bonus", -1, 1), {"limits": (0, 1)}, "setpoint and limits are for a preset"),
        ("autos", {}, "unknown method 'autos'; did you mean 'auto'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_call_is_refused(loop, given, message):
    with pytest.raises(ValueError, match=message):
        EntropyControl.attach(None, loop, **given)


@pytest.mark.parametrize(("value_nats", "sign"), [(5.0, +1), (0.0, -1)])
def test_a_bonus_moves_entropy_the_way_of_its_sign(trainer_of, value_nats, sign):
    """Nothing else moves it: no response has a reward."""

    def entropy_after(loop):
        # Adam makes a whole step of the smallest coefficient, so without a loop it has to be none.
        trainer = trainer_of(reward=0.0, entropy_coef=1e-6 if loop is not None else 0.0)
        if loop is not None:
            EntropyControl.attach(trainer, loop)
        trainer.train()
        return column(trainer, "entropy")[-1]

    moved = entropy_after(loop_of("bonus", -1.0, 1.0, value_nats=value_nats, kp=0.5, ki=0.0))
    assert (moved - entropy_after(None)) * sign > 0.01


def test_a_clip_range_changes_the_update(trainer_of):
    def run(value):
        trainer = trainer_of(steps=4, num_iterations=2, learning_rate=5e-2, epsilon=0.01)
        EntropyControl.attach(trainer, loop_of("clip_range", value, value + 1e-9, neutral=value))
        trainer.train()
        return trainer

    narrow, wide = run(0.0), run(2.0)
    assert wide.epsilon_high == pytest.approx(2.01)
    assert not torch.equal(weights(narrow), weights(wide))
    assert max(column(narrow, "clip_ratio/high_mean")) > max(column(wide, "clip_ratio/high_mean"))


def test_a_temperature_is_that_of_sampling_and_of_the_entropy(trainer_of):
    def entropies(value):
        trainer = trainer_of(steps=2, learning_rate=1e-12)
        EntropyControl.attach(trainer, loop_of("temperature", value, value + 1e-9, neutral=value))
        trainer.train()
        assert trainer.generation_config.temperature == pytest.approx(value)
        return column(trainer, "entropy")

    cold, hot = entropies(0.2), entropies(3.0)
    assert max(cold) < min(hot) - 0.1


def test_a_resumed_run_goes_on_with_the_same_commands(trainer_of):
    whole = trainer_of(steps=4, folder="whole")
    EntropyControl.attach(whole, loop_of("bonus", -1.0, 1.0))
    whole.train()
    checkpoint = Path(whole.args.output_dir) / "checkpoint-2"
    stored = json.loads((checkpoint / "trainer_state.json").read_text())["stateful_callbacks"]["entrostat"]
    assert stored["t"] == 2
    again = trainer_of(steps=4, folder="again")
    EntropyControl.attach(again, loop_of("bonus", -1.0, 1.0))
    again.train(resume_from_checkpoint=str(checkpoint))
    assert column(again, "loop/u") == column(whole, "loop/u")
    assert torch.equal(weights(again), weights(whole))
    narrower = trainer_of(folder="narrower")
    control = EntropyControl.attach(narrower, loop_of("bonus", -1.0, stored["command"] - 0.1, neutral=-1.0))
    control.on_train_begin(None, TrainerState(stateful_callbacks={"entrostat": stored}), None)
    assert control.command == narrower.entropy_coef == stored["command"] - 0.1
    # the next step has the cut command in it, and nothing had the stored one
    assert control._state.u == control.command
    assert control._state.applied == stored["loop"][LoopState._fields.index("applied")]
    state = TrainerState(stateful_callbacks={"entrostat": stored | {"loop": stored["loop"][:-1]}})
    control = EntropyControl.attach(trainer_of(folder="other"), loop_of("bonus", -1.0, 1.0))
    with pytest.raises(
        ValueError, match="the loop of this checkpoint is another one or another version's; go on"
    ):
        control.on_train_begin(None, state, None)


@pytest.mark.parametrize(
    ("settings", "loop", "message"),
    [
        ({"entropy_coef": 0.0}, loop_of("bonus", -1, 1), "entropy_coef is 0, and so TRL leaves the bonus out"),
        ({"use_adaptive_entropy": True}, loop_of("bonus", -1, 1), "use_adaptive_entropy moves entropy_coef already"),
        ({}, loop_of("clip_range", -0.1, 1), "with one optimiser step a batch the ratio is 1"),
        ({"num_iterations": 2}, loop_of("temperature", 0.5, 2, 1.0), "must not change between the optimiser steps"),
        ({}, loop_of("kl_cov", 0, 1), "actuator must be one of bonus, clip_range, temperature for GRPOTrainer, got 'kl_cov'"),
        ({}, loop_of("bonus", -1, 1, sensor="pass_rate"), "TRL does not report pass_rate here; a loop can read entropy"),
    ],
)  # fmt: skip
def test_what_could_not_act_is_refused(trainer_of, settings, loop, message):
    with pytest.raises(ValueError, match=message):
        EntropyControl.attach(trainer_of(**settings), loop)
