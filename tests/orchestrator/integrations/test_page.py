"""The programs of docs/integrations.md run as they are printed.

TRL's is run with TRL, and a tiny model in place of the one to download.  Those of the trainers that need CUDA are run
with stand-ins of what each calls and is called by, so that their own arithmetic and order hold wherever the tests run;
`installed/` runs them in the trainers' own classes where these are installed.
"""

from __future__ import annotations

import io
import json
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from orchestrator.integrations.presets import loop_from_preset
from tests.orchestrator.integrations.page import block, loop_of
from tests.orchestrator.integrations.tiny import make_policy


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

        def __init__(self, config):
            self.mode = config.trainer.v1.trainer_mode

        def _compute_advantage(self, batch, metrics):
            return batch

    def register_trainer(name):
        return lambda cls: trainers.setdefault(name, cls)

    provide("verl.trainer.ppo.v1", PPOTrainerSync=PPOTrainerSync, register_trainer=register_trainer)
    exec(block("python", "ControlledTrainer"), {})
    config = SimpleNamespace(trainer=SimpleNamespace(v1=SimpleNamespace(trainer_mode="controlled")))
    trainer, metrics = trainers["controlled"](config), {}
    assert trainer.mode == "sync"
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


def test_the_recipe_for_skyrl_moves_the_bonus(provide):
    provide("skyrl.train.utils.callbacks", TrainingCallback=object)
    names: dict[str, Any] = {"loop": loop_of("bonus")}
    exec(block("python", "EntropyCallback"), names)
    sent: list[tuple[str, dict[str, Any]]] = []
    dispatch = SimpleNamespace(set_algorithm_config=lambda model, **settings: sent.append((model, settings)))
    trainer = SimpleNamespace(dispatch=dispatch)
    callback, logs = names["EntropyCallback"](), {}
    callback.on_train_start(trainer, None, None)
    assert sent == []
    callback.on_step_end(trainer, SimpleNamespace(metrics={"policy_entropy": 0.8}, global_step=1), None)
    callback.on_log(trainer, SimpleNamespace(logs=logs), None)
    assert sent == [("policy", {"entropy_loss_coef": pytest.approx(0.1)})]
    assert logs == pytest.approx({"loop/y": 0.8, "loop/r": 1.0, "loop/u": 0.1})


def test_the_recipe_for_prime_rl_writes_a_command_a_step(tmp_path, monkeypatch):
    steps = iter([None, (0, 0.0), (1, 0.8), (1, 0.8), (2, 0.6)])
    written = []

    def shown(url):
        found = next(steps)
        if found is None:
            raise urllib.error.URLError("nobody listens yet")
        lines = "# TYPE trainer_step gauge\ntrainer_step {}.0\ntrainer_entropy {}\n".format(*found)
        return io.BytesIO(lines.encode())

    path = tmp_path / "command.json"
    monkeypatch.setattr(urllib.request, "urlopen", shown)
    monkeypatch.setattr(time, "sleep", lambda _: written.append(json.loads(path.read_text())["u"]))
    names: dict[str, Any] = {"loop": loop_of("bonus")}
    exec(block("python", "def watch"), names)
    with pytest.raises(StopIteration):
        names["watch"]("http://localhost:8000/metrics", path)
    assert written == [0.0, 0.0, *(pytest.approx(u) for u in (0.1, 0.1, 0.2))]


def test_the_loss_for_prime_rl_adds_the_bonus_in_its_sampled_form(tmp_path, provide):
    @dataclass
    class Inputs:
        trainer_logprobs: torch.Tensor
        advantages: torch.Tensor

    def default_loss_fn(inputs, config):
        return SimpleNamespace(loss=-(inputs.advantages * inputs.trainer_logprobs).sum(), metrics={})

    provide("prime_rl.configs.trainer", DefaultLossConfig=object)
    provide("prime_rl.trainer.rl.loss", default_loss_fn=default_loss_fn)
    names: dict[str, Any] = {}
    exec(block("python", "def controlled"), names)
    path = tmp_path / "command.json"
    path.write_text('{"u": 0.5}')
    log_probabilities = torch.tensor([-0.1, -2.0], requires_grad=True)
    outputs = names["controlled"](Inputs(log_probabilities, torch.tensor([1.0, -1.0])), path)
    outputs.loss.backward()
    # Minus the advantages A + 0.5 · (−log π), through which no gradient goes.
    assert log_probabilities.grad.tolist() == pytest.approx([-1.05, -0.0])
    assert outputs.metrics["loop_u"].item() == 0.5
