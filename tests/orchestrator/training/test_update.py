"""Optimiser steps on one batch: the same gradient on every cut, and a guard against what is not finite."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer

from orchestrator.configuration.learner import LearnerConfig
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.policy import PolicyConfig
from orchestrator.training.experience import Explorer
from orchestrator.training.learner import Learner
from orchestrator.training.ranks import Ranks
from orchestrator.training.start import load_policy
from orchestrator.training.update import TrainingDivergedError, Update, Updater
from policies.actuators.bonus import Bonus
from policies.actuators.sign_weights import SignWeights
from policies.advantages import grpo
from policies.policy_loss import Actuation
from policies.statistics.batch import TokenBatch, domain_code
from policies.statistics.micro_batches import ByRows, ByTokens, LongestFirst
from policies.statistics.packed_attention import pack_rows
from policies.statistics.response_statistics import View, observe
from policies.statistics.sequences import pack, token_index
from tasks.kinds.arithmetic import Arithmetic

pytestmark = pytest.mark.trains

VIEW = View(temperature=0.9)
TASK = Arithmetic(num_digits=1)
TASK_SETTINGS = {"kind": "arithmetic", "num_digits": 1}
BOTH = Actuation.of([Bonus(), SignWeights(probability_threshold=0.2)], {"bonus": 0.1, "sign_weights": 0.5})
NONE = Actuation.of([], {})
BY_DOMAIN = Actuation.of(
    [Bonus(), SignWeights(probability_threshold=0.2), Bonus()],
    {"bonus@add": 0.1, "sign_weights@sub": 0.5, "bonus@mul": 0.3},
    ["add", "sub", "mul"],
)
"""Two of the four prompts are ``add``, two ``sub``, none ``mul``."""


@pytest.fixture
def policy(_private_cache):
    torch.set_num_threads(1)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_layers": 1, "num_heads": 1}
    settings = PolicyConfig(architecture=small, warm_start={"num_steps": 10})
    return load_policy(RunConfig(policy=settings, task=TASK_SETTINGS, learner={"iterations": 1}))


@pytest.fixture
def experience(policy):
    """Twelve ragged responses to four prompts, one of them empty, as sequences and as a token batch."""
    generator = torch.Generator().manual_seed(0)

    def ids(length):
        return torch.randint(4, 18, (length,), generator=generator)

    prompts = [prompt for length in (4, 2, 4, 3) for prompt in [ids(length)] * 3]
    sequences = pack(prompts, [ids(n) for n in (3, 1, 5, 0, 2, 4, 3, 3, 1, 6, 2, 2)], pad_id=0)
    seen = observe(policy.model, sequences, VIEW, micro_batch_size=100)
    rewards = torch.tensor([1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 1, 1], dtype=torch.float32)
    group = torch.arange(4).repeat_interleave(3)
    response, position = token_index(sequences)
    batch = TokenBatch(
        response=response,
        position=position,
        logprobs=seen.logprobs,
        old_logprobs=seen.logprobs,
        entropy=seen.entropy,
        advantages=grpo(rewards, group)[response],
        weights=torch.zeros(len(response)),
        rewards=rewards,
        group=group,
        domain=torch.tensor([domain_code(name) for name in ("add", "sub", "sub", "add")])[group],
    )
    return sequences, batch


def updater_of(policy, **settings):
    return Updater(
        policy=policy,
        settings=LearnerConfig(iterations=1, **settings),
        max_tokens=6,
        backward=lambda loss, _: loss.backward(),
        ranks=Ranks(),
    )


def gradient_of(policy, experience, actuation, rows=None, **settings):
    sequences, batch = experience
    policy.model.zero_grad()
    update = Update(seed=0)
    rows = torch.arange(12) if rows is None else rows
    loss = updater_of(policy, **settings).accumulate(update, rows, sequences, batch, actuation, VIEW)
    return torch.cat([p.grad.flatten() for p in policy.model.parameters()]), loss, update.metrics()


@pytest.mark.parametrize("actuation", [NONE, BOTH, BY_DOMAIN], ids=["plain", "actuated", "by domain"])
@pytest.mark.parametrize("tokens", [6, 12, 25, 1000])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("packing", ["in_order", "longest_first"])
def test_packed_rows_on_any_budget_and_any_number_of_ranks_give_the_padded_gradient(
    policy, experience, actuation, tokens, size, packing
):
    whole, loss, metrics = gradient_of(policy, experience, actuation)
    pack_rows(policy.model, "auto")
    policy.model.zero_grad()
    sequences, batch = experience
    update, found = Update(seed=0), 0.0
    for rank in range(size):
        updater = updater_of(policy, tokens_per_micro_batch=tokens, packing=packing)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Ranks, "gather", lambda _, value: [value])
            updater = replace(updater, ranks=Ranks(rank=rank, size=size))
            found += updater.accumulate(update, torch.arange(12), sequences, batch, actuation, VIEW)
    packed = torch.cat([p.grad.flatten() for p in policy.model.parameters()])
    assert whole.abs().max() > 1e-3
    torch.testing.assert_close(packed, whole, atol=1e-5, rtol=1e-4)
    assert found == pytest.approx(loss, abs=1e-5)
    if size == 1:
        assert update.metrics() == pytest.approx(metrics, abs=1e-5, nan_ok=True)


@pytest.mark.parametrize("cut", [ByRows(2), ByTokens(9), ByTokens(1000), LongestFirst(9)])
def test_every_cut_measures_the_same(policy, experience, cut):
    sequences, batch = experience
    if not isinstance(cut, ByRows):
        pack_rows(policy.model, "auto")
    seen = Ranks().observe(policy, sequences, VIEW, cut=cut)
    torch.testing.assert_close(seen.logprobs, batch.logprobs, atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.entropy, batch.entropy, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("cut", [{}, {"micro_batch_size": 2}, {"tokens_per_micro_batch": 12}], ids=str)
def test_the_first_step_measures_the_same_on_every_cut_and_any_number_of_ranks(policy, experience, cut, size):
    """There are two steps, between which the policy moves; the second sees tokens that were not read."""
    sequences, measured = experience
    if "tokens_per_micro_batch" in cut:
        pack_rows(policy.model, "auto")
    unknown = torch.full_like(measured.entropy, math.nan)
    batch = replace(measured, logprobs=unknown, entropy=unknown)
    updates, rows = [Update(seed=0) for _ in range(size)], torch.arange(6)
    start = {name: weight.clone() for name, weight in policy.model.state_dict().items()}
    for rank, update in enumerate(updates):
        policy.model.load_state_dict(start)
        updater = replace(updater_of(policy, measure="in_update", **cut), ranks=Ranks(rank=rank, size=size))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Ranks, "gather", lambda _, value: [value])
            for step in (rows, rows + 6):
                updater.accumulate(update, step, sequences, batch, NONE, VIEW)
                update.gradient_norms.append(1.0)
                with torch.no_grad():
                    policy.model.get_output_embeddings().weight.mul_(1.5)
    every = [(each.per_token, each.seen) for each in updates]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ranks, "gather", lambda *_: every)
        updates[0].join(Ranks(size=size))
    assert torch.equal(updates[0].read, rows)
    found, read = updates[0].measured(batch), batch.response < 6
    for name in ("logprobs", "entropy"):
        torch.testing.assert_close(
            getattr(found, name)[read], getattr(measured, name)[read], atol=1e-5, rtol=0
        )
        assert getattr(found, name)[~read].isnan().all()


def test_a_bonus_alone_costs_no_further_forward_pass(policy, experience):
    """What it decides over a minibatch does not depend on the policy."""
    sequences, batch = experience
    updater, update = updater_of(policy), Update(seed=0)
    actuation = Actuation.of([Bonus()], {"bonus": 0.1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ranks, "observe", lambda *_, **__: pytest.fail("the policy was looked at again"))
        for rows in (torch.arange(6), torch.arange(6, 12)):
            updater.accumulate(update, rows, sequences, batch, actuation, VIEW)
            update.gradient_norms.append(1.0)


@pytest.mark.parametrize(("plans", "forwards"), [("current", 3), ("measured", 2)])
def test_a_second_minibatch_is_planned_with_or_without_a_further_forward_pass(
    policy, experience, plans, forwards
):
    sequences, batch = experience
    updater, update, passes = updater_of(policy, plans=plans), Update(seed=0), []
    policy.model.get_decoder().register_forward_hook(lambda *_: passes.append(1))
    planned = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Actuation, "plans", lambda _, batch: planned.append(batch.logprobs) or [{}, {}])
        patch.setattr(
            "orchestrator.training.update.policy_loss", lambda batch, *_: (batch.logprobs.sum(), {}, {})
        )
        for rows in (torch.arange(6), torch.arange(6, 12)):
            updater.accumulate(update, rows, sequences, batch, BOTH, VIEW)
            update.gradient_norms.append(1.0)
            with torch.no_grad():
                policy.model.get_output_embeddings().weight.mul_(1.5)
    # Prompts of like length are read twice in a padded pass where rows share them: count passes over prompts.
    assert len(passes) == 2 * forwards
    measured = batch.logprobs[-len(planned[1]) :]
    assert torch.equal(planned[1], measured) == (plans == "measured")


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean", "fixed_length"])
@pytest.mark.parametrize("actuation", [NONE, BOTH, BY_DOMAIN], ids=["plain", "actuated", "by domain"])
@pytest.mark.parametrize("micro_batch_size", [1, 2, 4, 5])
def test_cuts_into_micro_batches_give_one_gradient(
    policy, experience, aggregation, actuation, micro_batch_size
):
    settings = {"aggregation": aggregation}
    whole, loss, metrics = gradient_of(policy, experience, actuation, **settings)
    cut, cut_loss, cut_metrics = gradient_of(
        policy, experience, actuation, micro_batch_size=micro_batch_size, **settings
    )
    assert whole.abs().max() > 1e-3
    torch.testing.assert_close(cut, whole, atol=1e-5, rtol=1e-4)
    assert cut_loss == pytest.approx(loss, abs=1e-5)
    assert cut_metrics == pytest.approx(metrics, abs=1e-5, nan_ok=True)


def test_gradient_is_that_of_the_policy_gradient_by_hand(policy, experience):
    """On-policy the surrogate's gradient is REINFORCE's: -Σ A ∇ log π / T."""
    sequences, batch = experience
    found, _, _ = gradient_of(policy, experience, NONE)
    policy.model.zero_grad()
    rows = torch.nonzero(sequences.num_spoken > 0).flatten()
    total = 0.0
    for row in rows:
        n, start = int(sequences.num_spoken[row]), int(sequences.spoken[row].int().argmax())
        ids = sequences.input_ids[row, : start + n]
        logits = policy.model(input_ids=ids[None]).logits[0, start - 1 : -1] / VIEW.temperature
        chosen = logits.log_softmax(-1).gather(-1, ids[start:, None]).sum()
        advantage = grpo(batch.rewards, batch.group)[row]
        total = total - advantage * chosen / len(batch.response)
    total.backward()
    expected = torch.cat([p.grad.flatten() for p in policy.model.parameters()])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_shares_of_the_loss_are_named_and_add_up(policy, experience):
    _, loss, metrics = gradient_of(policy, experience, BOTH, micro_batch_size=3)
    shares = [metrics[f"loss/{name}"] for name in ("objective", "bonus", "sign_weights")]
    assert metrics["loss"] == pytest.approx(sum(shares)) == pytest.approx(loss)
    assert metrics["loss/bonus"] < 0


def test_a_domain_that_misses_a_minibatch_has_a_share_of_nothing_there(policy, experience):
    sequences, batch = experience
    updater, update = updater_of(policy, micro_batch_size=2), Update(seed=0)
    updater.accumulate(update, torch.arange(3), sequences, batch, BY_DOMAIN, VIEW)  # one prompt of add
    assert update.losses["bonus@add"][0] < 0
    assert update.losses["sign_weights@sub"] == update.losses["bonus@mul"] == [0.0]
    assert update.metrics()["loss"] == pytest.approx(
        update.metrics()["loss/objective"] + update.metrics()["loss/bonus@add"]
    )


def all_of(group):
    return torch.ones(len(group), dtype=torch.bool)


def test_what_is_kept_is_dealt_over_the_minibatches(policy, experience):
    """The first of four prompts is left out, and one response to the second."""
    group = experience[1].group
    kept = torch.tensor([False] * 4 + [True] * 8)
    (rows,) = updater_of(policy).minibatches(group, kept, seed=5)
    assert rows.tolist() == list(range(4, 12))
    steps = list(updater_of(policy, minibatches=3).minibatches(group, kept, seed=5))
    assert sorted(map(len, steps)) == [2, 3, 3]  # a prompt each, not two and none
    assert sorted(torch.cat(steps).tolist()) == list(range(4, 12))
    steps = list(updater_of(policy, minibatches=4, epochs=2).minibatches(group, kept, seed=5))
    assert sorted(map(len, steps)) == [2, 2, 3, 3, 3, 3]  # a minibatch without a prompt is no step
    assert list(updater_of(policy, epochs=2).minibatches(group, ~all_of(group), seed=5)) == []


def test_no_step_is_no_loss():
    metrics = Update(seed=0).metrics()
    assert math.isnan(metrics["loss"])
    assert math.isnan(metrics["grad_norm"])


@pytest.mark.parametrize(("epochs", "minibatches"), [(1, 1), (1, 4), (3, 2), (2, 3)])
def test_every_epoch_sees_every_response_once_and_groups_stay_whole(policy, experience, epochs, minibatches):
    group = experience[1].group
    updater = updater_of(policy, epochs=epochs, minibatches=minibatches)
    steps = list(updater.minibatches(group, all_of(group), seed=5))
    assert len(steps) == epochs * minibatches == updater.settings.steps_per_batch
    for epoch in range(epochs):
        rows = torch.cat(steps[epoch * minibatches : (epoch + 1) * minibatches])
        assert sorted(rows.tolist()) == list(range(12))
    for rows in steps:
        assert all(len(rows[group[rows] == g]) in (0, 3) for g in range(4))


def test_order_follows_the_seed_and_differs_between_epochs(policy, experience):
    group = experience[1].group

    def order(seed):
        steps = updater_of(policy, epochs=4, minibatches=4).minibatches(group, all_of(group), seed)
        return [rows.tolist() for rows in steps]

    assert order(1) == order(1) != order(2)
    assert len({tuple(map(tuple, order(1)[i : i + 4])) for i in range(0, 16, 4)}) > 1


def test_later_steps_look_at_the_policy_as_it_is_by_then(policy, experience):
    """A plan selects by the current probabilities, not by those measured before the first step."""
    sequences, batch = experience
    shown = []

    class Spy(SignWeights):
        def plan(self, batch, u):
            shown.append(batch.logprobs.clone())
            return super().plan(batch, u)

    updater, update = updater_of(policy, epochs=2), Update(seed=0)
    actuation = Actuation.of([Spy()], {"sign_weights": 0.5})
    for rows in updater.minibatches(batch.group, all_of(batch.group), 0):
        updater.accumulate(update, rows, sequences, batch, actuation, VIEW)
        with torch.no_grad():
            for parameter in policy.model.parameters():
                parameter.mul_(0.9)
        update.gradient_norms.append(1.0)
    torch.testing.assert_close(shown[0], batch.logprobs)
    assert not torch.allclose(shown[1], batch.logprobs, atol=1e-3)


def test_shares_of_ranks_add_up_to_the_gradient_of_one(policy, experience):
    """Eleven rows over three ranks: 4, 4 and 3, in micro-batches of at most two."""
    sequences, batch = experience
    rows = torch.arange(11)
    whole, loss, _ = gradient_of(policy, experience, BOTH, rows)
    summed, losses, numbers = torch.zeros_like(whole), 0.0, []
    for rank in range(3):
        policy.model.zero_grad()
        ranks = Ranks(rank=rank, size=3)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Ranks, "gather", lambda _, value: [value])
            updater = replace(updater_of(policy, micro_batch_size=2), ranks=ranks)
            losses += updater.accumulate(Update(seed=0), rows, sequences, batch, BOTH, VIEW)
        summed += torch.cat([p.grad.flatten() for p in policy.model.parameters()])
        numbers.append([counts for _, counts in ranks.pieces(sequences.select(rows), ByRows(2))])
    torch.testing.assert_close(summed, whole, rtol=1e-4, atol=1e-7)
    assert losses == pytest.approx(loss, rel=1e-5)
    assert numbers == [[True, True]] * 3


# The guard --------------------------------------------------------------------------------------------


@pytest.fixture
def learner(policy, monkeypatch):
    """A learner with an optimiser of its own and no trainer: just what a step needs."""
    config = SimpleNamespace(
        learner=LearnerConfig(iterations=1, learning_rate=0.1, max_skipped_steps=3, max_grad_norm=0.5),
        rollout=SimpleNamespace(max_tokens=6),
        max_response_tokens=6,
        phases=(),
    )
    learner = Learner(
        config=config,
        seed=0,
        explorer=Explorer(task=None, policy=policy, engine=None, limits=None),
        batches=None,
        control=None,
        guardrails=None,
        writer=None,
    )
    optimizer = LightningOptimizer(torch.optim.SGD(policy.model.parameters(), lr=0.1))
    optimizer._strategy = SimpleNamespace(optimizer_step=lambda optimizer, *_, **__: optimizer.step())
    monkeypatch.setattr(learner, "optimizers", lambda: optimizer)
    return learner


def step(learner, gradient, loss=0.0):
    update = Update(seed=0)
    for parameter in learner.model.parameters():
        parameter.grad = torch.full_like(parameter, gradient)
    learner._step(update, loss)
    return update


def weights(learner):
    return torch.cat([p.detach().flatten().clone() for p in learner.model.parameters()])


@pytest.mark.parametrize(
    ("gradient", "loss"), [(math.nan, 0.0), (math.inf, 0.0), (1.0, math.nan), (1.0, -math.inf)]
)
def test_step_that_is_not_finite_is_skipped_and_counted(learner, gradient, loss):
    before = weights(learner)
    update = step(learner, gradient, loss)
    assert torch.equal(weights(learner), before)
    assert update.metrics()["guard/skipped_steps"] == 1.0
    assert learner.num_skipped_in_a_row == 1
    assert all(p.grad is None or not p.grad.any() for p in learner.model.parameters())


def test_finite_step_is_taken_clipped_to_the_norm(learner):
    before = weights(learner)
    update = step(learner, 1.0)
    assert update.gradient_norms[0] == pytest.approx(math.sqrt(len(before)), rel=1e-5)
    moved = (before - weights(learner)).norm().item()
    assert moved == pytest.approx(0.1 * 0.5, rel=1e-3)  # learning rate times max_grad_norm


def test_steps_in_a_row_stop_the_run_with_a_reason(learner):
    step(learner, math.nan)
    step(learner, math.nan)
    step(learner, 1.0)  # breaks the row
    step(learner, math.nan)
    step(learner, math.nan)
    with pytest.raises(
        TrainingDivergedError, match=r"not finite for 3 optimiser steps.*lower learner\.learning_rate"
    ):
        step(learner, math.nan)
