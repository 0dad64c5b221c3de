"""Actuators that weigh tokens, and KL-Cov: by hand, against the published code in dense form, and their direction."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from policies.actuators.base import UpdateFacts
from policies.actuators.clip_cov import ClipCov, covariance
from policies.actuators.discriminator_clip import DiscriminatorClip
from policies.actuators.high_entropy import HighEntropyTokens
from policies.actuators.kl_cov import KlCov
from policies.actuators.positive_weight import PositiveWeight
from policies.actuators.sequence_weights import SequenceWeights
from policies.actuators.steer import Steer
from policies.advantages import grpo
from policies.objectives import ClippedSurrogate, token_weights
from policies.policy_loss import Actuation, policy_loss
from policies.statistics.batch import TokenBatch

LOG = math.log
VOCABULARY = 8
OPEN = ClippedSurrogate(clip_low=1.0, clip_high=1e6)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(17)


# Batches ----------------------------------------------------------------------------------------------


def tokens_of(lengths, *, logprobs, entropy, advantages, old=None, group=None) -> TokenBatch:
    """A batch from lists, token mean."""
    response = torch.repeat_interleave(torch.tensor(lengths))
    values = torch.tensor(logprobs, dtype=torch.float64)
    return TokenBatch(
        response=response,
        position=torch.cat([torch.arange(n) for n in lengths]),
        logprobs=values,
        old_logprobs=values if old is None else torch.tensor(old, dtype=torch.float64),
        entropy=torch.tensor(entropy, dtype=torch.float64),
        advantages=torch.tensor(advantages, dtype=torch.float64),
        weights=torch.full((len(response),), 1 / len(response), dtype=torch.float64),
        rewards=torch.zeros(len(lengths), dtype=torch.float64),
        group=torch.tensor([0] * len(lengths) if group is None else group),
    )


def observed(logits, tokens, shell: TokenBatch) -> TokenBatch:
    """The batch as a policy with one row of logits a token sees it."""
    logp = torch.log_softmax(logits, dim=1)
    return replace(shell, logprobs=logp.gather(1, tokens[:, None])[:, 0], entropy=-(logp.exp() * logp).sum(1))


def batch_of(lengths, rewards, group, *, seed=0, steps_away=0.5, identical=()):
    """Logits [T, V] (a leaf), sampled tokens [T] and the batch; ``identical`` responses are copies."""
    generator = torch.Generator().manual_seed(seed)
    T = sum(lengths)
    logits = 2.5 * torch.randn((T, VOCABULARY), generator=generator, dtype=torch.float64)
    sampled = torch.multinomial(torch.softmax(logits, 1), 1, generator=generator) if T else torch.zeros(0, 1)
    tokens = sampled[:, 0].long()
    response = torch.repeat_interleave(torch.tensor(lengths))
    for copy in identical[1:]:
        logits[response == copy] = logits[response == identical[0]]
        tokens[response == copy] = tokens[response == identical[0]]
    logits.requires_grad_()
    rewards, group = torch.tensor(rewards, dtype=torch.float64), torch.tensor(group)
    shell = TokenBatch(
        response=response,
        position=torch.cat([torch.arange(n) for n in lengths]),
        logprobs=torch.zeros(T),
        old_logprobs=torch.zeros(T),
        entropy=torch.zeros(T),
        advantages=grpo(rewards, group)[response],
        weights=token_weights(response, len(lengths), "token_mean").double(),
        rewards=rewards,
        group=group,
    )
    batch = observed(logits, tokens, shell)
    noise = torch.rand(T, generator=generator, dtype=torch.float64) - 0.5
    old = (batch.logprobs.detach() + 2 * steps_away * noise).clamp(max=0.0)
    return logits, tokens, replace(batch, old_logprobs=old)


BATCHES = {
    "ragged": lambda seed: batch_of(
        [5, 3, 1, 4, 2, 6, 0, 3, 4, 4, 4, 4, 7, 2, 5, 8, 3, 4, 6, 1],
        [1, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0],
        [n // 4 for n in range(20)],
        seed=seed,
        identical=[8, 9, 10, 11],
    ),
    "all_right": lambda seed: batch_of([3, 1, 2], [1, 1, 1], [0, 0, 0], seed=seed),
    "all_wrong": lambda seed: batch_of([3, 0, 2], [0, 0, 0], [0, 0, 0], seed=seed),
    "identical": lambda seed: batch_of([2, 2, 2], [1, 1, 1], [0, 0, 0], seed=seed, identical=[0, 1, 2]),
    "single_token": lambda seed: batch_of([0, 1], [0, 1], [0, 0], seed=seed),
    "no_token": lambda seed: batch_of([0, 0], [0, 1], [0, 0], seed=seed),
}


def frozen(batch: TokenBatch) -> TokenBatch:
    return replace(batch, logprobs=batch.logprobs.detach(), entropy=batch.entropy.detach())


# By hand ----------------------------------------------------------------------------------------------


def weigh(actuator, u, batch) -> list[float]:
    return actuator.weights(batch, u, seeded()).tolist()


def test_covariance_by_hand():
    batch = tokens_of([4], logprobs=[-1, -2, -3, -6], entropy=[1.0] * 4, advantages=[2, -1, 1, -2])
    # mean log π = -3, mean A = 0: (2)(2), (1)(-1), (0)(1), (-3)(-2)
    assert covariance(batch).tolist() == [4.0, -1.0, 0.0, 6.0]


def test_clip_cov_by_hand():
    batch = tokens_of([4], logprobs=[-1, -2, -3, -6], entropy=[1.0] * 4, advantages=[2, -1, 1, -2])
    # covariances 4, -1, 0, 6: inside (1, 5) is the first; max(int(2e-4 · 4), 1) = 1 of it
    assert weigh(ClipCov(), 2e-4, batch) == [0, 1, 1, 1]
    assert weigh(ClipCov(covariance_high=math.inf), 1.0, batch) == [0, 1, 1, 0]
    assert weigh(ClipCov(covariance_high=6.0), 1.0, batch) == [0, 1, 1, 1]  # 6 < 6 is not
    assert weigh(ClipCov(covariance_low=4.0), 1.0, batch) == [1, 1, 1, 1]  # nor 4 > 4
    # int(0.74 · 4) = 2 of the four below covariance 7
    assert sum(weigh(ClipCov(covariance_low=-9, covariance_high=7), 0.74, batch)) == 2


def test_clip_cov_leaves_out_what_the_ratio_has_clipped():
    old = [-1 - LOG(2.1), -2, -3, -6 + LOG(2.1)]  # ratios 2.1, 1, 1, 1/2.1
    batch = tokens_of([4], logprobs=[-1, -2, -3, -6], entropy=[1.0] * 4, advantages=[2, -1, 1, -2], old=old)
    wide = ClipCov(covariance_high=math.inf)
    assert weigh(wide, 1.0, batch) == [1, 1, 1, 0]  # 2.1 > 1 + 1
    assert weigh(replace(wide, clip_high=1.2), 1.0, batch) == [0, 1, 1, 0]
    assert weigh(replace(wide, clip_high=1.2, clip_low=0.5), 1.0, batch) == [0, 1, 1, 1]  # 0.476 < 1 - 0.5


def test_clip_cov_draws_by_its_generator():
    batch = tokens_of(
        [40], logprobs=[-1, -3] * 20, entropy=[1.0] * 40, advantages=[2, -2] * 20
    )  # all covariances are 2
    first = ClipCov().weights(batch, 0.25, torch.Generator().manual_seed(1))
    again = ClipCov().weights(batch, 0.25, torch.Generator().manual_seed(1))
    other = ClipCov().weights(batch, 0.25, torch.Generator().manual_seed(2))
    assert (first == 0).sum() == (other == 0).sum() == 10  # int(0.25 · 40)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_kl_cov_by_hand():
    old = [-1.5, -2, -3, -5.75]
    batch = tokens_of([4], logprobs=[-1, -2, -3, -6], entropy=[1.0] * 4, advantages=[2, -1, 1, -2], old=old)
    # covariances 4, -1, 0, 6: max(1, int(0.1 · 4)) = 1 is selected, 2 · |-6 + 5.75| / 4 = 0.125
    actuator = KlCov(fraction=0.1)
    assert actuator.loss(batch, actuator.plan(batch, 2.0), 2.0).tolist() == [0, 0, 0, 0.125]
    assert torch.equal(
        KlCov().plan(batch, 2.0)["weights"], actuator.plan(batch, 2.0)["weights"]
    )  # 1 at least


def test_kl_cov_selects_by_sign_and_counts_whole_tokens():
    logprobs, advantages = [-1.0] * 30 + [-3.0] * 9 + [-30.0], [1] * 30 + [-1] * 9 + [1]
    batch = tokens_of([40], logprobs=logprobs, entropy=[1.0] * 40, advantages=advantages)
    # means -2.175 and 0.55: 1.175 · 0.45 = 0.53, then -0.825 · -1.55 = 1.28, and -27.825 · 0.45 = -12.5,
    # the largest by size; int(0.0999 · 40) = 3 of those with 1.28
    (selected,) = torch.nonzero(KlCov(fraction=0.0999).plan(batch, 1.0)["weights"], as_tuple=True)
    assert len(selected) == 3
    assert set(selected.tolist()) <= set(range(30, 39))


def test_kl_cov_without_advantages_selects_nothing():
    batch = tokens_of([9], logprobs=[-1.0, -2.0, -3.0] * 3, entropy=[1.0] * 9, advantages=[0.0] * 9)
    assert KlCov().plan(batch, 1.0)["weights"].tolist() == [0.0] * 9


def test_high_entropy_by_hand():
    entropy = [0.1, 0.9, 0.3, 0.5, 0.7, 0.2]
    batch = tokens_of([4, 2], logprobs=[-1.0] * 6, entropy=entropy, advantages=[1.0] * 6)
    # rank ceil(0.8 · 5) = 4 of 0.1 0.2 0.3 0.5 0.7 0.9 is 0.7;  ceil(0.5 · 5) = 3 is 0.5
    assert weigh(HighEntropyTokens(), 0.8, batch) == [0, 1, 0, 0, 1, 0]
    assert weigh(HighEntropyTokens(), 0.5, batch) == [0, 1, 0, 1, 1, 0]
    assert weigh(HighEntropyTokens(), 1.0, batch) == [0, 1, 0, 0, 0, 0]
    # by response: ceil(0.5 · 3) = 2 of 0.1 0.3 0.5 0.9 is 0.5;  ceil(0.5 · 1) = 1 of 0.2 0.7 is 0.7
    assert weigh(HighEntropyTokens(scope="response"), 0.5, batch) == [0, 1, 0, 1, 1, 0]
    # ceil(0.3 · 3) = 1 is 0.3;  ceil(0.3 · 1) = 1 is 0.7
    assert weigh(HighEntropyTokens(scope="response"), 0.3, batch) == [0, 1, 1, 1, 1, 0]


def test_high_entropy_keeps_ties():
    batch = tokens_of([4], logprobs=[-1.0] * 4, entropy=[0.5, 0.5, 0.1, 0.5], advantages=[1.0] * 4)
    assert weigh(HighEntropyTokens(), 0.9, batch) == [1, 1, 0, 1]


def test_sequence_weights_by_hand():
    # responses of 2, 1, 0 and 1 tokens; mean entropies 0.5, 1, -, 0; A = 1, 0, -, -1
    batch = tokens_of(
        [2, 1, 0, 1],
        logprobs=[-1.0] * 4,
        entropy=[0.2, 0.8, 1.0, 0.0],
        advantages=[1, 1, 0, -1],
        group=[0, 0, 0, 1],
    )
    # (A + u H) / P with u = 2, P = 4: 0.5 and 0.5 in group 0: equal, 2 · 1/2 = 1 each; alone in group 1: 1
    assert weigh(SequenceWeights(temperature=4.0), 2.0, batch) == pytest.approx([1, 1, 1, 1])
    # u = 0.5, P = 1: 1.25 and 0.5; 2 / (1 + e^-0.75) = 1.358358 and 2 / (1 + e^0.75) = 0.641642
    assert weigh(SequenceWeights(), 0.5, batch) == pytest.approx([1.358358, 1.358358, 0.641642, 1], abs=1e-6)
    # without A, u = 2: 1 and 2; 2 / (1 + e) = 0.537883 and 2 / (1 + 1/e) = 1.462117
    by_entropy = SequenceWeights(advantage_scale=0.0)
    assert weigh(by_entropy, 2.0, batch) == pytest.approx([0.537883, 0.537883, 1.462117, 1], abs=1e-6)


def test_stepwise_sequence_weights_by_hand():
    # position 0: A + u H = 1 + 0.2, 0 + 1, equal groups; position 1: one response is left
    batch = tokens_of(
        [2, 1], logprobs=[-1.0] * 3, entropy=[0.2, 0.8, 1.0], advantages=[1, 1, 0], group=[0, 0]
    )
    # 2 / (1 + e^-0.2) = 1.099668 and 2 / (1 + e^0.2) = 0.900332
    weights = weigh(SequenceWeights(mode="step"), 1.0, batch)
    assert weights == pytest.approx([1.099668, 1, 0.900332], abs=1e-6)


def test_sequence_weights_with_a_cold_softmax_stay_finite():
    batch = tokens_of([1, 1, 1], logprobs=[-1.0] * 3, entropy=[3.0, 1.0, 2.0], advantages=[0.0] * 3)
    assert weigh(SequenceWeights(temperature=1e-4), 10.0, batch) == [3, 0, 0]  # e^300000 is not a number


def test_sequence_weights_without_the_advantage_are_continuous_at_neutral():
    _, _, batch = BATCHES["ragged"](0)
    near = SequenceWeights(advantage_scale=0.0).weights(frozen(batch), 1e-9, seeded())
    torch.testing.assert_close(near, torch.ones_like(near), rtol=0, atol=1e-8)
    published = SequenceWeights().weights(frozen(batch), 1e-9, seeded())
    assert (published - 1).abs().max() > 0.5  # which jumps


def test_positive_weight_by_hand():
    batch = tokens_of([3], logprobs=[-1.0] * 3, entropy=[1.0] * 3, advantages=[2, 0, -1])
    assert weigh(PositiveWeight(), 0.9, batch) == pytest.approx([0.1, 1, 1])  # W-REINFORCE
    assert weigh(PositiveWeight(), 1.0, batch) == [0, 1, 1]  # NSR


def test_steer_by_hand():
    half, quarter = LOG(0.5), LOG(0.25)
    batch = tokens_of(
        [3],
        logprobs=[half, quarter, half],
        old=[half, quarter - LOG(2), half],
        entropy=[1 + LOG(2), 2 * LOG(2), LOG(2)],
        advantages=[2, -1, 1],
    )
    # Ω: 2 · 1 · 0.5 · 1 = 1;  -1 · 2 · 0.75 · 0 = 0;  1 · 1 · 0.5 · 0 = 0;  so 0.8^(1, 0, 0)
    assert weigh(Steer(), 0.2, batch) == pytest.approx([0.8, 1, 1])
    shifted = replace(batch, entropy=batch.entropy + torch.tensor([0.0, -1.0, 0.0]))
    # the second is -1 · 2 · 0.75 · -1 = 1.5, now the largest: 0.8^(1 / 1.5), 0.8
    assert weigh(Steer(), 0.2, shifted) == pytest.approx([0.8 ** (2 / 3), 0.8, 1])
    # 1.2 - 0.4 (1, 1.5, 0) / 1.5
    assert weigh(Steer(mapping="linear"), 0.2, shifted) == pytest.approx([1.2 - 0.8 / 3, 0.8, 1.2])
    small = replace(batch, advantages=0.005 * batch.advantages)
    assert weigh(Steer(), 0.2, small) == pytest.approx([0.8**0.25, 1, 1])  # Ω 0.005 over the floor 0.02
    assert weigh(Steer(), 1.0, small) == [0, 1, 1]


def test_steer_goes_by_the_entropy_at_the_start_of_the_update():
    """compute_token_weights is handed the stored entropies, in every step of a batch."""
    half = LOG(0.5)
    batch = tokens_of([2], logprobs=[half, half], old=[half, half], entropy=[0.1, 3.0], advantages=[1, 1])
    started = replace(batch, old_entropy=torch.tensor([1 + LOG(2), LOG(2)], dtype=torch.float64))
    # Ω: 0.5 · 1 and 0.5 · 0, whatever the entropies are now
    assert weigh(Steer(), 0.2, started) == pytest.approx([0.8, 1])
    assert weigh(Steer(), 0.2, batch) != pytest.approx([0.8, 1])


@pytest.mark.parametrize(
    ("share", "num", "kept"),
    [(0.6, 46, 19), (0.6, 6, 3), (0.8, 46, 10), (0.07, 101, 94), (0.29, 101, 72), (1.0, 9, 1), (0.0, 9, 9)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_high_entropy_counts_exactly(share, num, kept, dtype):
    """Those ranked ceil(share · (num - 1)) or above, in decimal arithmetic: 0.6 of 46 keeps 19, not 18."""
    from decimal import ROUND_CEILING, Decimal

    rank = (Decimal(str(share)) * (num - 1)).to_integral_value(ROUND_CEILING)
    assert num - int(rank) == kept
    batch = tokens_of(
        [num], logprobs=[-1.0] * num, entropy=[0.01 * k for k in range(num)], advantages=[1.0] * num
    )
    batch = replace(batch, entropy=batch.entropy.to(dtype))
    for scope in ("minibatch", "response"):
        assert sum(weigh(HighEntropyTokens(scope=scope), share, batch)) == kept


def test_discriminator_clip_by_hand():
    # S = π (H + log π): 0.5 (log 2 + log 0.5) = 0 nine times, and 0.5 (log 2 - 2 + log 0.5) = -1
    entropy = [LOG(2)] * 9 + [LOG(2) - 2]
    advantages = [1.0] * 5 + [-1.0] * 5
    batch = tokens_of([10], logprobs=[LOG(0.5)] * 10, entropy=entropy, advantages=advantages)
    # mean -0.1, variance (9 · 0.01 + 0.81) / 10 = 0.09, σ 0.3; z = -0.9 = -3 σ
    assert weigh(DiscriminatorClip(), 1.0, batch) == [1] * 9 + [0]
    assert weigh(DiscriminatorClip(threshold=2.9), 0.25, batch) == pytest.approx([1] * 9 + [0.75])
    assert weigh(DiscriminatorClip(threshold=3.1), 1.0, batch) == [1] * 10
    assert weigh(DiscriminatorClip(), 1.0, replace(batch, advantages=-batch.advantages)) == [1] * 10
    # z = +3 σ, rewarded: kept as published, an outlier of both sides
    likely = replace(
        batch, entropy=batch.entropy + torch.tensor([0.0] * 9 + [4.0]), advantages=-batch.advantages
    )
    assert weigh(DiscriminatorClip(), 1.0, likely) == [1] * 10
    assert weigh(DiscriminatorClip(sides="both"), 1.0, likely) == [1] * 9 + [0]


# Against the published code, dense -------------------------------------------------------------------


def padded(values, batch) -> torch.Tensor:
    """[T] to [N, longest]."""
    return pad_sequence(list(values.split(batch.lengths.tolist())), batch_first=True)


def mask_of(batch) -> torch.Tensor:
    return torch.arange(int(batch.lengths.max())) < batch.lengths[:, None]


def verl_clip_cov(logp, old, entropy, adv, mask, group):
    """PRIME-RL/Entropy-Mechanism-of-RL, compute_policy_loss_clip_cov: ratio 0.15, bounds 0.3 and 2, clip 0.2."""
    ratio = torch.exp(logp - old)
    clipped = -adv * torch.clamp(ratio, 0.8, 1.2) > -adv * ratio
    cov = (adv - adv[mask].mean()) * (logp - logp[mask].mean())
    cov[~mask] = -torch.inf
    cov[clipped] = -torch.inf
    keep = torch.ones_like(logp)
    index = torch.nonzero((cov < 2.0) & (cov > 0.3) & mask)
    if len(index) > 0:
        index = index[torch.randperm(len(index), generator=seeded())[: max(int(0.15 * mask.sum()), 1)]]
    keep[index[:, 0], index[:, 1]] = 0
    return keep


def trl_high_entropy(logp, old, entropy, adv, mask, group):
    """TRL get_high_entropy_mask with top_entropy_quantile 0.2 (the interpolated quantile)."""
    return (entropy >= torch.quantile(entropy[mask], 0.8) - 1e-12).double() if mask.any() else entropy


def by_response(logp, old, entropy, adv, mask, group):
    keep = torch.zeros_like(entropy)
    for row in range(len(mask)):
        if mask[row].any():
            keep[row] = (entropy[row] >= torch.quantile(entropy[row, mask[row]], 0.35) - 1e-12).double()
    return keep


def egsw(logp, old, entropy, adv, mask, group):
    """EGSW over trajectories, α 0.7 and P 0.5, times the responses that said something."""
    weights = torch.zeros_like(entropy)
    for g in group.unique():
        rows = [i for i in range(len(group)) if group[i] == g and mask[i].any()]
        raw = {i: math.exp((adv[i][mask[i]].mean() + 0.7 * entropy[i][mask[i]].mean()) / 0.5) for i in rows}
        for i in rows:
            weights[i] = len(rows) * raw[i] / sum(raw.values())
    return weights


def egsw_stepwise(logp, old, entropy, adv, mask, group):
    raw = torch.exp((adv + 0.7 * entropy) / 0.5) * mask
    weights = torch.zeros_like(entropy)
    for g in group.unique():
        rows = group == g
        weights[rows] = mask[rows].sum(0) * raw[rows] / raw[rows].sum(0).clamp(min=1e-30)
    return weights


def steer_code(linear):
    """zz-haooo/STEER compute_token_weights, 0.8 to 1 or 1.2."""

    def weights(logp, old, entropy, adv, mask, group):
        x = logp.exp().clamp(1e-8, 1 - 1e-8)
        metric = (adv / old.exp().clamp(1e-8, 1.0) * (x * (1 - x) * (torch.log(x) + entropy))).abs()
        if not mask.any():
            return metric
        low, high = metric[mask].min(), metric[mask].max()
        if not linear:
            k = -math.log(0.8) / max(float(high), 0.02)
            return torch.exp(-k * metric).clamp(0.8, 1.0)
        if high > low:
            return (1.2 - (metric - low) * 0.4 / (high - low)).clamp(0.8, 1.2)
        return torch.full_like(metric, 1.0)

    return weights


def clip_b(logp, old, entropy, adv, mask, group):
    """agentscope-ai/Trinity-RFT clipb_advantage.py, mu 0.8."""
    S, m = logp.exp() * (entropy + logp), mask.double()
    n = m.sum().clamp_min(1.0)
    mean = (S * m).sum() / n
    std = (((S - mean) ** 2 * m).sum() / n).sqrt()
    if std < 1e-12:
        return torch.ones_like(S)
    keep_negative = (S - mean) >= -(0.8 * std)
    return torch.where(adv < 0, keep_negative, torch.ones_like(mask)).double()


def positive(logp, old, entropy, adv, mask, group):
    return torch.where(adv > 0, 0.35, 1.0).double()


PAIRS = {
    "clip_cov": (
        ClipCov(covariance_low=0.3, covariance_high=2.0, clip_low=0.2, clip_high=0.2),
        0.15,
        verl_clip_cov,
    ),
    "high_entropy": (HighEntropyTokens(), 0.8, trl_high_entropy),
    "high_entropy/response": (HighEntropyTokens(scope="response"), 0.35, by_response),
    "sequence_weights": (SequenceWeights(temperature=0.5), 0.7, egsw),
    "sequence_weights/step": (SequenceWeights(temperature=0.5, mode="step"), 0.7, egsw_stepwise),
    "positive_weight": (PositiveWeight(), 0.65, positive),
    "steer": (Steer(), 0.2, steer_code(linear=False)),
    "steer/linear": (Steer(mapping="linear"), 0.2, steer_code(linear=True)),
    "discriminator_clip": (DiscriminatorClip(threshold=0.8), 1.0, clip_b),
}
every_pair = pytest.mark.parametrize("pair", PAIRS)
every_batch = pytest.mark.parametrize("kind", BATCHES)


@every_pair
@every_batch
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_weights_loss_and_gradient_equal_the_published_code(pair, kind, seed):
    actuator, u, reference = PAIRS[pair]
    logits, _, batch = BATCHES[kind](seed)
    actuation = Actuation.of([actuator], {actuator.kind: u})
    factors = actuation.weights(frozen(batch), seeded())
    assert factors.shape == batch.logprobs.shape
    assert factors.dtype == batch.logprobs.dtype
    assert not factors.requires_grad

    logp, old, entropy, adv = (
        padded(v, batch) for v in (batch.logprobs, batch.old_logprobs, batch.entropy, batch.advantages)
    )
    mask = mask_of(batch)
    weights = reference(logp.detach(), old, entropy.detach(), adv, mask, batch.group)
    torch.testing.assert_close(padded(factors, batch)[mask], weights[mask], rtol=1e-6, atol=1e-9)

    ratio = torch.exp(logp - old)
    per_token = torch.max(-adv * ratio, -adv * torch.clamp(ratio, 0.8, 1.2))
    expected = (per_token * weights * mask).sum() / mask.sum().clamp(min=1)
    ours, _, _ = policy_loss(batch, ClippedSurrogate(), actuation, [], factors)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(
        torch.autograd.grad(ours, logits, retain_graph=True),
        torch.autograd.grad(expected, logits),
        rtol=1e-6,
        atol=1e-9,
    )
    if kind == "ragged":
        assert (factors != 1).any()  # it is not trivially right


@every_batch
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kl_cov_loss_and_gradient_equal_the_published_code(kind, seed):
    """PRIME-RL/Entropy-Mechanism-of-RL, compute_policy_loss_kl_cov, ratio 0.06 and coefficient 0.8."""
    logits, _, batch = BATCHES[kind](seed)
    actuator = KlCov(fraction=0.06)
    actuation = Actuation.of([actuator], {"kl_cov": 0.8})
    ours, shares, _ = policy_loss(batch, OPEN, actuation, actuation.plans(frozen(batch)))

    logp, old, adv = (padded(v, batch) for v in (batch.logprobs, batch.old_logprobs, batch.advantages))
    mask = mask_of(batch)
    losses = -adv * torch.exp(logp - old)
    valid_adv, valid_logp = adv[mask], logp[mask].detach()
    cov = (valid_adv - valid_adv.mean()) * (valid_logp - valid_logp.mean())
    rows = torch.topk(cov, min(max(1, int(0.06 * len(cov))), len(cov))).indices
    where = torch.nonzero(mask)[rows[cov[rows] > 0]]  # ours: elsewhere topk takes arbitrary zeros
    chosen = torch.zeros_like(mask)
    chosen[where[:, 0], where[:, 1]] = True
    losses = torch.where(chosen, losses + 0.8 * (logp - old).abs(), losses)
    expected = (losses * mask).sum() / mask.sum().clamp(min=1)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(
        torch.autograd.grad(ours, logits, retain_graph=True),
        torch.autograd.grad(expected, logits),
        rtol=1e-6,
        atol=1e-9,
    )
    assert (shares["kl_cov"] > 0) == (kind == "ragged")


# Invariance -------------------------------------------------------------------------------------------


@every_pair
@pytest.mark.parametrize("seed", [0, 1])
def test_the_order_of_responses_changes_no_weight(pair, seed):
    actuator, u, _ = PAIRS[pair]
    u = 1.0 if isinstance(actuator, ClipCov) else u  # all candidates, so that the draw does not matter
    _, _, batch = BATCHES["ragged"](seed)
    factors = actuator.weights(frozen(batch), u, seeded())
    order = torch.randperm(batch.num_responses, generator=torch.Generator().manual_seed(seed))
    shuffled, index = frozen(batch).select(order)
    torch.testing.assert_close(
        actuator.weights(shuffled, u, seeded()), factors[index], rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("mode", ["trajectory", "step"])
def test_sequence_weights_have_mean_one(mode):
    _, _, batch = BATCHES["ragged"](3)
    weights = SequenceWeights(mode=mode).weights(frozen(batch), 0.7, seeded())
    table, mask = padded(weights, batch), mask_of(batch)
    for group in batch.group.unique():
        said = (batch.group == group) & (batch.lengths > 0)
        assert table[said][:, 0].mean() == pytest.approx(1.0)
        if mode == "step":
            alive = mask[said].sum(0)
            assert (table[said] * mask[said]).sum(0).tolist() == pytest.approx(alive.tolist())


# Direction --------------------------------------------------------------------------------------------


def falling_batch():
    """Likely tokens rewarded, unlikely ones penalised, at ratio 1: every push lowers entropy."""
    generator = torch.Generator().manual_seed(4)
    lengths, group = [10] * 8, [0] * 4 + [1] * 4
    logits = 2.0 * torch.randn((80, VOCABULARY), generator=generator, dtype=torch.float64)
    response = torch.repeat_interleave(torch.tensor(lengths))
    ranked = logits.argsort(dim=1, descending=True)
    right = response % 2 == 0
    return shaped(logits, torch.where(right, ranked[:, 0], ranked[:, 5]), lengths, right, group)


def forking_batch():
    """Right responses are unsure and take unlikely tokens, wrong ones are sure: high entropy is good."""
    generator = torch.Generator().manual_seed(5)
    lengths, group = [6] * 8, [0] * 4 + [1] * 4
    response = torch.repeat_interleave(torch.tensor(lengths))
    right = response % 2 == 0
    noise = torch.randn((48, VOCABULARY), generator=generator, dtype=torch.float64)
    ranked = noise.argsort(dim=1, descending=True)
    logits = torch.where(right[:, None], noise, 8.0 * noise)
    return shaped(logits, torch.where(right, ranked[:, 5], ranked[:, 0]), lengths, right, group)


def shaped(logits, tokens, lengths, right, group):
    rewards = torch.zeros(len(lengths), dtype=torch.float64)
    rewards[::2] = 1.0
    shell = tokens_of(
        lengths,
        logprobs=[0.0] * len(right),
        entropy=[0.0] * len(right),
        advantages=right.tolist(),
        group=group,
    )
    shell = replace(shell, rewards=rewards, advantages=grpo(rewards, shell.group)[shell.response])
    start = observed(logits, tokens, shell).logprobs
    return logits.clone().requires_grad_(), tokens, replace(shell, old_logprobs=start)


def entropy_after(actuator, u, make, *, num_steps=1) -> float:
    logits, tokens, shell = make()
    actuation = Actuation.of([actuator], {actuator.kind: u})
    for _ in range(num_steps):
        batch = observed(logits, tokens, shell)
        plans, factors = actuation.plans(frozen(batch)), actuation.weights(frozen(batch), seeded())
        loss, _, _ = policy_loss(batch, OPEN, actuation, plans, factors)
        (descent,) = torch.autograd.grad(loss, logits)
        logits = (logits - 2.0 * descent).detach().requires_grad_()
    return observed(logits, tokens, shell).entropy.mean().item()


def entropy_before(make) -> float:
    logits, tokens, shell = make()
    return observed(logits, tokens, shell).entropy.mean().item()


@pytest.mark.parametrize(
    ("actuator", "commands"),
    [
        (ClipCov(), (1e-4, 0.1, 0.3)),
        (HighEntropyTokens(), (0.4, 0.8, 1.0)),
        (HighEntropyTokens(scope="response"), (0.4, 0.8, 1.0)),
        (PositiveWeight(), (0.1, 0.5, 1.0)),
        (Steer(), (0.2, 0.5, 1.0)),
        (DiscriminatorClip(threshold=1.0), (0.2, 0.5, 1.0)),
        (DiscriminatorClip(threshold=1.0, sides="both"), (0.2, 0.5, 1.0)),
    ],
    ids=lambda value: repr(value) if not isinstance(value, tuple) else "",
)
def test_one_step_that_lowers_entropy_lowers_it_less(actuator, commands):
    plain = entropy_after(actuator, actuator.command.neutral, falling_batch)
    assert plain < entropy_before(falling_batch) - 1e-3
    after = [plain] + [entropy_after(actuator, u, falling_batch) for u in commands]
    assert all(less + 1e-6 < more for less, more in pairwise(after))


def test_kl_cov_raises_entropy_from_the_second_step_on():
    """The first has a ratio of 1 and is the plain one to the last bit."""
    actuator = KlCov(fraction=0.1)
    assert entropy_after(actuator, 1.0, falling_batch) == entropy_after(actuator, 0.0, falling_batch)
    after = [entropy_after(actuator, u, falling_batch, num_steps=2) for u in (0.0, 0.3, 1.0)]
    assert after[0] + 1e-6 < after[1] < after[2] - 1e-6


@pytest.mark.parametrize("mode", ["trajectory", "step"])
@pytest.mark.parametrize("advantage_scale", [0.0, 1.0])
def test_sequence_weights_raise_entropy_where_high_entropy_responses_are_right(mode, advantage_scale):
    actuator = SequenceWeights(mode=mode, advantage_scale=advantage_scale)
    after = [entropy_after(actuator, u, forking_batch) for u in (0.0, 0.1, 0.5)]
    assert after[0] + 1e-6 < after[1] < after[2] - 1e-6


def test_linear_steer_makes_most_tokens_heavier():
    """|Ω| has a long tail, so the mean weight is above 1 and a falling entropy falls faster."""
    logits, tokens, shell = falling_batch()
    linear = Steer(mapping="linear")
    assert linear.weights(frozen(observed(logits, tokens, shell)), 0.2, seeded()).mean() > 1.05
    assert entropy_after(linear, 0.2, falling_batch) < entropy_after(linear, 0.0, falling_batch)


def test_steer_and_positive_weight_do_not_promise_it_against_an_update_that_raises_entropy():
    """What their docstrings say: STEER slows entropy either way, and unlikely tokens may be the rewarded."""
    for actuator in (Steer(), PositiveWeight()):
        plain = entropy_after(actuator, 0.0, forking_batch)
        assert entropy_before(forking_batch) < plain
        assert entropy_after(actuator, 0.5, forking_batch) < plain


# Refusals ---------------------------------------------------------------------------------------------


def test_kl_cov_says_why_one_step_a_batch_is_inert():
    facts = UpdateFacts(steps_per_batch=1, objective="clipped_surrogate")
    assert "no gradient" in KlCov().why_inert(facts)
    assert KlCov().why_inert(replace(facts, steps_per_batch=2)) is None


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ClipCov(covariance_low=5.0), "covariance_high must be above covariance_low = 5.0, got 5.0"),
        (lambda: ClipCov(clip_low=1.1), "clip_low must be between 0 and 1, got 1.1"),
        (lambda: ClipCov(clip_high=-0.1), "clip_high must be at least 0, got -0.1"),
        (lambda: KlCov(fraction=0.2), r"in \(0, 0.1\], got 0.2; it is a fraction and not a percentage"),
        (lambda: KlCov(fraction=0.0), r"fraction must be in \(0, 0.1\], got 0.0"),
        (lambda: HighEntropyTokens(scope="group"), "'minibatch' or 'response', got 'group'"),
        (lambda: SequenceWeights(mode="token"), "'trajectory' or 'step', got 'token'"),
        (lambda: SequenceWeights(temperature=0.0), "temperature must be above 0, got 0.0"),
        (lambda: SequenceWeights(advantage_scale=-1.0), "advantage_scale must be at least 0, got -1.0"),
        (lambda: Steer(mapping="square"), "'exponential' or 'linear', got 'square'"),
        (lambda: Steer(omega_floor=0.0), "omega_floor must be above 0, got 0.0"),
        (lambda: DiscriminatorClip(threshold=0.0), "threshold must be above 0, got 0.0"),
        (lambda: DiscriminatorClip(sides="positive"), "'negative' or 'both', got 'positive'"),
    ],
)
def test_guards(build, message):
    with pytest.raises(ValueError, match=message):
        build()
