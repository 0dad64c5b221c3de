"""A loop on TRL's asynchronous trainer, with stand-ins for what needs a GPU: attention's kernel, vLLM, the weight push."""

from __future__ import annotations

import queue
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from controllers import Constant, FeedbackLoop, OpenLoop
from tests.orchestrator.integrations.tiny import make_policy

trl = pytest.importorskip("trl", reason="the extra 'trl' is not installed")
pytestmark = [pytest.mark.trains, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

from orchestrator.integrations.trl import EntropyControl  # noqa: E402


class Rollouts:
    """Endless responses of two tokens, in groups of four, with the log-probabilities of an older policy."""

    def __init__(self):
        from trl.experimental.async_grpo.async_rollout_worker import RolloutSample

        self.rollout_buffer, self.metrics_queue = queue.Queue(), queue.Queue()
        rng = np.random.default_rng(0)
        for number in range(200):
            reward = float(number % 2)
            self.rollout_buffer.put(
                RolloutSample(
                    prompt=[],
                    completion=[],
                    input_ids=np.array([4, 5, *rng.integers(4, 12, size=2)]),
                    completion_mask=np.array([0, 0, 1, 1]),
                    old_log_probs=np.array([0.0, 0.0, -4.0, -4.0]),
                    advantage=2 * reward - 1,
                    model_version=1,
                    group_id=number // 4,
                    metrics={"reward": reward},
                )
            )

    def start(self): ...
    def stop(self): ...
    def update_model_version(self, model_version): ...
    def check_health(self, stale_after_s): ...


class NoPush:
    """Weights that go nowhere."""

    def init_weight_transfer(self): ...
    def pause(self): ...
    def send_weights(self, iterator):
        for _ in iterator:
            pass

    def resume(self): ...
    def destroy(self): ...


def attend(query, key, value, bounds_q, bounds_k, *_, softmax_scale, **__):
    """The kernel's attention: segments of queries, each at the end of its own path of keys."""
    out = []
    for (a, b), (c, d) in zip(pairwise(bounds_q.tolist()), pairwise(bounds_k.tolist()), strict=True):
        q, k, v = (x.transpose(0, 1) for x in (query[a:b], key[c:d], value[c:d]))
        seen = torch.ones(b - a, d - c, dtype=torch.bool).tril(d - c - (b - a))
        out.append(
            torch.nn.functional.scaled_dot_product_attention(q, k, v, seen, scale=softmax_scale).transpose(
                0, 1
            )
        )
    return torch.cat(out)


@pytest.fixture
def trainer_of(tmp_path, monkeypatch):
    from datasets import Dataset
    from trl.experimental.async_grpo import AsyncGRPOConfig, AsyncGRPOTrainer, async_grpo_trainer, packing

    monkeypatch.setattr(async_grpo_trainer, "get_peak_flops_per_device", lambda *_: None)
    monkeypatch.setattr(packing, "_flash_attn", lambda: SimpleNamespace(flash_attn_varlen_func=attend))
    policy = make_policy(tmp_path / "policy")

    def make(steps=3, **settings):
        arguments = AsyncGRPOConfig(
            **{
                "output_dir": str(tmp_path / "out"), "per_device_train_batch_size": 8, "max_steps": steps,
                "num_generations": 4, "token_budget": 64, "epsilon": 0.01, "learning_rate": 1e-2,
                "max_staleness": 1000, "logging_steps": 1, "save_strategy": "no", "bf16": False,
                "gradient_checkpointing": False, "use_cpu": True, "report_to": [], "disable_tqdm": True,
                "dtype": "float32", "seed": 3, **settings,
            }
        )  # fmt: skip
        return AsyncGRPOTrainer(
            model=str(policy),
            args=arguments,
            train_dataset=Dataset.from_list([{"prompt": "ab"}] * 8),
            rollout_worker=Rollouts(),
            weight_transfer=NoPush(),
        )

    return make


def loop_of(actuator, value, sensor="entropy"):
    return FeedbackLoop(
        sensor=sensor, reference=Constant(value_nats=1.0), law=OpenLoop(value=value), actuator=actuator,
        low=-1.0, high=100.0, neutral=0.0,
    )  # fmt: skip


def test_a_loop_reads_the_entropy_and_moves_the_upper_clip(trainer_of, capsys):
    def run(value):
        trainer = trainer_of()
        EntropyControl.attach(trainer, loop_of("clip_range", value))
        trainer.train()
        return trainer

    narrow, wide = run(0.0), run(100.0)
    assert wide.epsilon_high == 100.01
    assert "'loop/u': '100'" in capsys.readouterr().out

    logs = [entry for entry in wide.state.log_history if "entropy" in entry]
    assert [entry["loop/y"] for entry in logs] == [entry["entropy"] for entry in logs]
    assert len(logs) == 3

    def clipped(trainer):
        return [entry["clip_ratio/high_mean"] for entry in trainer.state.log_history if "entropy" in entry]

    # The first step is made with the neutral command, the others with that of the loop.
    assert clipped(wide)[0] == clipped(narrow)[0] > 0
    assert clipped(wide)[1:] == [0.0, 0.0]
    assert min(clipped(narrow)[1:]) > 0


def test_a_preset_is_named_in_the_call(trainer_of):
    trainer = trainer_of(steps=1)
    EntropyControl.attach(trainer, "clip_higher")
    trainer.train()
    assert trainer.epsilon_high == pytest.approx(0.01 + 0.08)


def test_what_could_not_act_is_refused(trainer_of, monkeypatch):
    trainer = trainer_of()
    with pytest.raises(ValueError, match="must be one of clip_range for AsyncGRPOTrainer, got 'bonus'"):
        EntropyControl.attach(trainer, loop_of("bonus", 0.0))
    EntropyControl.attach(trainer, loop_of("clip_range", 0.0, sensor="reward"))
    monkeypatch.setattr(type(trainer.accelerator), "num_processes", 2)
    with pytest.raises(
        ValueError, match="TRL does not report reward here; a loop can read entropy, learning"
    ):
        EntropyControl.attach(trainer, loop_of("clip_range", 0.0, sensor="reward"))
