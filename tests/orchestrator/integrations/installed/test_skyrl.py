"""The callback for SkyRL with SkyRL's own trainer, dispatch and policy worker, on a CPU and without Ray.

`make test-trainers` has the package; elsewhere this is skipped.
"""

from __future__ import annotations

import sys
import typing
from types import SimpleNamespace

import pytest
import torch
import typing_extensions

from tests.orchestrator.integrations.page import block, loop_of

pytestmark = pytest.mark.filterwarnings("ignore")  # of libraries about one another


@pytest.fixture
def skyrl(monkeypatch):
    """Import it; 0.3.0 says that Python 3.11 will do and takes a TypedDict that pydantic refuses there."""
    pytest.importorskip("skyrl", reason="skyrl is not installed; `make test-trainers` has it")
    if sys.version_info < (3, 12):
        monkeypatch.setattr(typing, "TypedDict", typing_extensions.TypedDict)
    from skyrl.backends.skyrl_train.workers import worker, worker_dispatch
    from skyrl.train import trainer
    from skyrl.train.config import AlgorithmConfig

    monkeypatch.setattr(torch.cuda, "current_device", lambda: "cpu")
    monkeypatch.setattr(worker_dispatch, "ray", SimpleNamespace(get=lambda results: results))
    return SimpleNamespace(
        worker=worker, dispatch=worker_dispatch, trainer=trainer, AlgorithmConfig=AlgorithmConfig
    )


class Policy(torch.nn.Module):
    """Two tokens of one response over a vocabulary of three, by logits that can be learnt."""

    def __init__(self):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor([[[0.0, 1.0, 2.0], [0.5, 0.0, 0.0], [0.0, 0.0, 0.0]]]))

    def forward(self, sequences, num_actions, **_):
        everywhere = self.logits.log_softmax(-1)
        entropy = -(everywhere.exp() * everywhere).sum(-1)
        return everywhere[:, :num_actions, 0], {"entropy": entropy}  # of the positions before the tokens


@pytest.fixture
def policy_worker(skyrl):
    """SkyRL's worker for the policy, without the process group and the device it would be started with."""
    worker = object.__new__(skyrl.worker.PolicyWorkerBase)
    algorithm = skyrl.AlgorithmConfig(
        use_entropy_loss=True, entropy_loss_coef=0.0, use_kl_loss=False, temperature=1.0
    )
    worker.cfg = SimpleNamespace(algorithm=algorithm)
    worker.model = Policy()
    worker.optimizer, worker.scheduler = None, SimpleNamespace(get_last_lr=lambda: [0.0])
    worker.strategy = SimpleNamespace(backward=lambda loss, model, optimizer: loss.backward())
    worker.mesh_rank = SimpleNamespace(dp_size=1)
    worker.policy_loss_fn = skyrl.worker.PolicyLossRegistry.get("regular")
    return worker


def step(worker):
    """One micro-batch with advantages of nought, so that the gradient is the bonus alone."""
    with torch.no_grad():
        old, _ = worker.model(None, 2)
    experience = SimpleNamespace(
        to_device=lambda device: None, sequences=torch.zeros(1, 3, dtype=torch.long), num_actions=2,
        attention_mask=torch.ones(1, 3), loss_mask=torch.ones(1, 2), action_mask=torch.ones(1, 2),
        action_log_probs=old, base_action_log_probs=None, advantages=torch.zeros(1, 2), rollout_logprobs=None,
        rollout_expert_indices=None, pixel_values=None, image_grid_thw=None,
    )  # fmt: skip
    worker.model.zero_grad()
    metrics = worker._forward_backward_micro(experience, 1.0)
    gradient = (
        torch.zeros_like(worker.model.logits)
        if worker.model.logits.grad is None
        else worker.model.logits.grad
    )
    return metrics, gradient.clone()


def test_the_callback_moves_the_bonus_of_the_workers(skyrl, policy_worker):
    class Group:
        def async_run_ray_method(self, dispatch, method, *args, **kwargs):
            assert dispatch == "pass_through"
            return [getattr(policy_worker, method)(*args, **kwargs)]

    dispatch = object.__new__(skyrl.dispatch.WorkerDispatch)
    dispatch._actor_groups, dispatch.colocate_all, dispatch.colocate_policy_ref = (
        {"policy": Group()},
        False,
        False,
    )
    trainer = object.__new__(skyrl.trainer.RayPPOTrainer)
    trainer.dispatch, trainer._training_control = dispatch, None
    trainer._callback_handler = skyrl.trainer.CallbackHandler()
    trainer._build_callback_input = lambda **fields: SimpleNamespace(global_step=1, **fields)
    names = {"loop": loop_of("bonus")}
    exec(block("python", "EntropyCallback"), names)
    trainer.add_callback(names["EntropyCallback"]())

    trainer._fire("on_train_start")
    metrics, gradient = step(policy_worker)
    assert not gradient.any()  # the coefficient of the configuration is nought
    trainer._fire("on_step_end", batch=None, metrics=metrics)
    y = metrics["policy_entropy"]
    u = 0.5 * (1 - y)
    assert policy_worker.cfg.algorithm.entropy_loss_coef == pytest.approx(u)
    logs: dict[str, float] = {}
    trainer._fire("on_log", logs=logs)
    assert logs == pytest.approx({"loop/y": y, "loop/r": 1.0, "loop/u": u})

    _, gradient = step(policy_worker)
    logits = policy_worker.model.logits.detach().clone().requires_grad_()
    everywhere = logits[:, :2].log_softmax(-1)
    entropy = -(everywhere.exp() * everywhere).sum(-1).mean()
    entropy.backward()
    assert y == pytest.approx(entropy.item())
    assert torch.allclose(gradient, -u * logits.grad, atol=1e-6)
    assert gradient.any()
