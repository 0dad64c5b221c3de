"""The programs of docs/integrations.md run as they are printed.

TRL's is run with TRL, and a tiny model in place of the one to download.  Those of the trainers that need CUDA are run
with stand-ins of what each calls and is called by: so their own arithmetic and order hold, and nothing is said of the
trainer itself.
"""

from __future__ import annotations

import io
import json
import re
import sys
import time
import urllib.request
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from controllers import PID, Constant, FeedbackLoop
from orchestrator.integrations.presets import loop_from_preset
from tests.orchestrator.integrations.tiny import make_policy

PAGE = (Path(__file__).parents[3] / "docs" / "integrations.md").read_text()


def block(language: str, with_text: str) -> str:
    """The one block of the page that has the text."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    (only,) = [text for text in found if with_text in text]
    return only


@pytest.fixture
def provide(monkeypatch):
    """Put a module into the interpreter, with the packages above it."""

    def put(name: str, **contents: Any) -> None:
        parts = name.split(".")
        for end in range(1, len(parts)):
            monkeypatch.setitem(sys.modules, ".".join(parts[:end]), ModuleType(parts[end - 1]))
        module = ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)

    return put


def loop_of(actuator: str) -> FeedbackLoop:
    """u = 0.5 · (1 − y)."""
    return FeedbackLoop(
        sensor="entropy", reference=Constant(value_nats=1.0), law=PID(kp=0.5, ki=0.0), actuator=actuator,
        low=-1.0, high=1.0, neutral=0.0,
    )  # fmt: skip


@pytest.mark.trains
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of libraries about one another
def test_the_example_of_trl_runs_and_holds_its_setpoint_and_limits(tmp_path, monkeypatch):
    pytest.importorskip("trl", reason="the extra 'trl' is not installed")
    monkeypatch.chdir(tmp_path)
    example = block("python", "EntropyControl.attach")
    assert example.count('"Qwen/Qwen3-0.6B"') == 1
    names: dict[str, Any] = {}
    exec(example.replace('"Qwen/Qwen3-0.6B"', repr(str(make_policy(tmp_path / "tiny")))), names)
    logs = [log for log in names["trainer"].state.log_history if "entropy" in log]
    assert [log["loop/y"] for log in logs] == [log["entropy"] for log in logs]
    assert {log["loop/r"] for log in logs} == {0.3}
    assert len(logs) == names["args"].max_steps
    # The tiny policy begins far above the setpoint: the bonus ends negative, and within the limits.
    assert -1 <= logs[-1]["loop/u"] < 0


def test_the_preset_of_the_page_is_one(tmp_path):
    path = tmp_path / "clip_auto.yaml"
    path.write_text(block("yaml", "method: clip_auto"))
    assert loop_from_preset(path).actuator == "clip_range"


def test_the_recipe_for_verl_moves_the_advantages(provide):
    def nested(*rows):
        return torch.nested.as_nested_tensor([torch.tensor(row) for row in rows], layout=torch.jagged)

    stored = {
        "advantages": nested([1.0, 1.0], [-1.0]),
        "entropy": nested([0.2, 9.0], [0.4]),
        "response_mask": nested([1, 0], [1]),
    }
    provide(
        "transfer_queue",
        kv_batch_get=lambda keys, partition_id, select_fields: {name: stored[name] for name in select_fields},
        kv_batch_put=lambda keys, partition_id, fields: stored.update(fields),
    )
    provide("tensordict", TensorDict=lambda fields, batch_size: fields)
    trainers: dict[str, type] = {}

    class PPOTrainerSync:
        global_steps = 1

        def _compute_advantage(self, batch, metrics):
            return batch

    def register_trainer(name):
        return lambda cls: trainers.setdefault(name, cls)

    provide("verl.trainer.ppo.v1", PPOTrainerSync=PPOTrainerSync, register_trainer=register_trainer)
    exec(block("python", "ControlledTrainer"), {})
    trainer, metrics = trainers["controlled"](), {}
    trainer.loop = loop_of("entropy_advantage")
    trainer._compute_advantage(SimpleNamespace(keys=["a", "b"], partition_id="train"), metrics)
    # y = (0.2 + 0.4) / 2, u = 0.5 · (1 − 0.3), and the token that is masked keeps its advantage.
    assert metrics == pytest.approx({"loop/y": 0.3, "loop/r": 1.0, "loop/u": 0.35})
    first, second = (row.tolist() for row in stored["advantages"].unbind())
    assert first == pytest.approx([1.0 + 0.35 * 0.2, 1.0])
    assert second == pytest.approx([-1.0 + 0.35 * 0.4])


def test_the_recipe_for_openrlhf_moves_the_coefficient(provide):
    class ActorPPOTrainer:
        args = SimpleNamespace(actor=SimpleNamespace(entropy_coef=0.0))

        def ppo_train(self, kl_ctl):
            return {"entropy_loss": 0.4, "coefficient": self.args.actor.entropy_coef}

    given: dict[str, Any] = {}
    provide("ray", init=lambda **settings: given.update(settings))
    provide("openrlhf.trainer.ray.ppo_actor", ActorPPOTrainer=ActorPPOTrainer)
    exec(block("python", "ActorPPOTrainer"), {"loop": loop_of("bonus")})
    given["runtime_env"]["worker_process_setup_hook"]()
    trainer = ActorPPOTrainer()
    first, second = trainer.ppo_train(0.0), trainer.ppo_train(0.0)
    assert (first["coefficient"], second["coefficient"]) == (0.0, pytest.approx(0.3))
    assert second["loop/u"] == pytest.approx(0.3)


def test_the_recipe_for_skyrl_moves_the_upper_clip(provide):
    provide("skyrl.train.utils.callbacks", TrainingCallback=object)
    names: dict[str, Any] = {"loop": loop_of("clip_range")}
    exec(block("python", "EntropyCallback"), names)
    sent: list[tuple[str, dict[str, Any]]] = []
    dispatch = SimpleNamespace(
        forward_backward_from_staged=lambda model, chunk_refs, **settings: sent.append((model, settings))
    )
    algorithm = SimpleNamespace(eps_clip_high=0.2)
    trainer = SimpleNamespace(
        dispatch=dispatch, cfg=SimpleNamespace(trainer=SimpleNamespace(algorithm=algorithm))
    )
    callback, logs = names["EntropyCallback"](), {}
    callback.on_train_start(trainer, None, None)
    dispatch.forward_backward_from_staged("policy", [])
    callback.on_step_end(trainer, SimpleNamespace(metrics={"policy_entropy": 0.8}, global_step=1), None)
    callback.on_log(trainer, SimpleNamespace(logs=logs), None)
    dispatch.forward_backward_from_staged("policy", [])
    dispatch.forward_backward_from_staged("critic", [])
    clips = [settings.get("loss_fn_config", {}).get("eps_clip_high") for _, settings in sent]
    assert clips == [0.2, pytest.approx(0.3), None]
    assert logs == pytest.approx({"loop/y": 0.8, "loop/r": 1.0, "loop/u": 0.1})


def test_the_recipe_for_prime_rl_writes_a_command_a_step(tmp_path, monkeypatch):
    steps = iter([(0, 0.0), (1, 0.8), (1, 0.8), (2, 0.6)])
    written = []

    def shown(url):
        step, entropy = next(steps)
        lines = f"# TYPE trainer_step gauge\ntrainer_step {step}.0\ntrainer_entropy {entropy}\n"
        return io.BytesIO(lines.encode())

    path = tmp_path / "command.json"
    monkeypatch.setattr(urllib.request, "urlopen", shown)
    monkeypatch.setattr(
        time, "sleep", lambda _: written.append(json.loads(path.read_text())["u"] if path.exists() else None)
    )
    names: dict[str, Any] = {"loop": loop_of("clip_range")}
    exec(block("python", "trainer_entropy"), names)
    with pytest.raises(StopIteration):
        names["watch"]("http://localhost:8000/metrics", path)
    assert written == [None, pytest.approx(0.1), pytest.approx(0.1), pytest.approx(0.2)]
