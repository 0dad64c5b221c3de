"""The recipe for OpenRLHF in OpenRLHF's own actor trainer, with DeepSpeed's package, on a CPU.

Its modules import vLLM and flash-attn when they are loaded; both need CUDA to be built, so stand-ins that are never
called take their place.  `make test-trainers` has the package; elsewhere this is skipped.
"""

from __future__ import annotations

import importlib.machinery
import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch

from tests.orchestrator.integrations.page import block, loop_of

pytestmark = pytest.mark.filterwarnings("ignore")  # of libraries about one another
LOADED_ONLY = (
    "vllm", "vllm.inputs", "vllm.lora", "vllm.lora.request", "vllm.utils",
    "flash_attn", "flash_attn.bert_padding", "flash_attn.utils", "flash_attn.utils.distributed",
)  # fmt: skip


@pytest.fixture
def ppo_actor(monkeypatch):
    """The module of OpenRLHF, whose calls of CUDA find a CPU."""
    pytest.importorskip("openrlhf", reason="openrlhf is not installed; `make test-trainers` has it")
    for name in LOADED_ONLY:
        stand_in = MagicMock()
        stand_in.__spec__, stand_in.__path__ = importlib.machinery.ModuleSpec(name, None), []
        monkeypatch.setitem(sys.modules, name, stand_in)
    from openrlhf.trainer.ray import ppo_actor

    monkeypatch.setattr(ppo_actor, "torch_dist_barrier_and_cuda_sync", lambda: None)
    monkeypatch.setattr(
        ppo_actor.ActorPPOTrainer, "ppo_train", ppo_actor.ActorPPOTrainer.ppo_train
    )  # put back
    return ppo_actor


def arguments():
    return SimpleNamespace(
        train=SimpleNamespace(max_epochs=1, dynamic_batch_enable=False, colocate_all=False, async_enable=False),
        actor=SimpleNamespace(
            eps_clip_low_high=(0.2, 0.2), dual_clip=None, loss_agg_mode="token-mean", policy_loss_type="ppo",
            aux_loss_coef=0.0, entropy_coef=0.0,
        ),
        algo=SimpleNamespace(
            advantage=SimpleNamespace(
                is_correction_level="off", is_correction_mode="mask", is_correction_gating="ratio",
                is_correction_threshold=None,
            ),
            kl=SimpleNamespace(use_loss=False),
        ),
        ds=SimpleNamespace(packing_samples=False, tensor_parallel_size=1),
        vllm=SimpleNamespace(sync_backend="nccl"),
    )  # fmt: skip


class Policy(torch.nn.Module):
    """One token of a sequence has the entropy of a logit against 0; gradients show what was pushed."""

    def __init__(self):
        super().__init__()
        self.logit = torch.nn.Parameter(torch.tensor(1.0))

    def entropy(self):
        p = self.logit.sigmoid()
        return -(p * p.log() + (1 - p) * (1 - p).log())

    def forward(self, sequences, action_mask, **_):
        shape = action_mask.shape
        output = SimpleNamespace(entropy=self.entropy().expand(shape))
        return self.logit.sigmoid().log().expand(shape), output


def make_trainer(ppo_actor, monkeypatch, lengths):
    """OpenRLHF's trainer of an actor with a batch of one response of each length, a micro-batch each."""
    from openrlhf.trainer.ppo_utils.experience import Experience

    model = Policy()
    gradients: list[float] = []

    def optimizer_step(*_, **__):
        gradients.append(model.logit.grad.item())

    strategy = SimpleNamespace(
        args=arguments(), ring_attn_group=None, accumulated_gradient=len(lengths), is_rank_0=lambda: False,
        all_reduce=dict, backward=lambda loss, model, optimizer: loss.backward(),
        optimizer_step=optimizer_step, get_grad_norm=lambda model: 0.0,
    )  # fmt: skip
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    trainer = ppo_actor.ActorPPOTrainer(
        strategy, model, None, None, SimpleNamespace(get_last_lr=lambda: [0.0]), micro_train_batch_size=1,
        dataloader_pin_memory=False,
    )  # fmt: skip
    monkeypatch.setattr(torch.cuda, "current_device", lambda: "cpu")
    old = model.logit.detach().sigmoid().log()
    for length in lengths:
        ones = torch.ones(1, length)
        trainer.replay_buffer.append(
            Experience(
                sequences=torch.ones(1, length + 1, dtype=torch.long),
                attention_mask=torch.ones(1, length + 1, dtype=torch.long),
                action_mask=ones.bool(),
                action_log_probs=old * ones,
                rollout_log_probs=old * ones,
                advantages=0 * ones,
                returns=0 * ones,
                values=0 * ones,
            )
        )
    return trainer, model, gradients


def test_the_recipe_moves_the_coefficient_of_the_next_training(ppo_actor, monkeypatch):
    import ray

    given = {}
    monkeypatch.setattr(ray, "init", lambda **settings: given.update(settings))
    exec(block("python", "ActorPPOTrainer"), {"loop": loop_of("bonus")})
    given["runtime_env"]["worker_process_setup_hook"]()
    trainer, model, gradients = make_trainer(ppo_actor, monkeypatch, [2, 2])
    entropy = model.entropy()
    entropy.backward()
    slope = model.logit.grad.item()

    model.logit.grad = None
    first = trainer.ppo_train(0.0)
    assert gradients[-1] == 0.0  # the coefficient of the command line
    assert first["entropy_loss"] == pytest.approx(entropy.item())
    u = 0.5 * (1 - entropy.item())
    assert first["loop/u"] == pytest.approx(u)
    model.logit.grad = None
    trainer.ppo_train(0.0)
    # Gradients of two micro-batches, which DeepSpeed halves: the loss falls where entropy rises.
    assert gradients[-1] / 2 == pytest.approx(-u * slope)


def test_the_entropy_that_is_reported_is_too_large_where_micro_batches_differ_in_tokens(
    ppo_actor, monkeypatch
):
    trainer, model, _ = make_trainer(ppo_actor, monkeypatch, [1, 3])
    reported = trainer.ppo_train(0.0)["entropy_loss"]
    # Each value is Σ H · 2 / 4 and weighs by its tokens: (1 · 1/2 + 3 · 3/2) / 4 where the mean is 1.
    assert reported == pytest.approx(model.entropy().item() * 1.25)
