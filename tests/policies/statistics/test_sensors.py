"""Sensors: hand values, numpy, the covariance theorem, sums over ranks, readings of nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.statistics.batch import TokenBatch
from policies.statistics.sensors import FILTERED, SIGNALS, add, check, measure, readings, signal, sums


def make_batch(lengths, entropy, logprobs, advantages, rewards) -> TokenBatch:
    """A batch from lists: the last three a value a token, ``advantages`` and ``rewards`` a response."""
    lengths = torch.tensor(lengths)
    response = torch.repeat_interleave(lengths)
    logprobs = torch.as_tensor(logprobs, dtype=torch.float32)
    return TokenBatch(
        response=response,
        position=torch.cat([torch.arange(n) for n in lengths]),
        logprobs=logprobs,
        old_logprobs=logprobs,
        entropy=torch.as_tensor(entropy, dtype=torch.float32),
        advantages=torch.as_tensor(advantages, dtype=torch.float32)[response],
        weights=torch.zeros_like(logprobs),
        rewards=torch.as_tensor(rewards, dtype=torch.float32),
        group=torch.zeros(len(lengths), dtype=torch.int64),
    )


def small() -> TokenBatch:
    """A right response of three tokens, a wrong one of one, a wrong one of none."""
    return make_batch(
        [3, 1, 0], [0.0, 1.0, 2.0, 3.0], [-1.0, -2.0, -3.0, -4.0], [1.0, -1.0, 0.0], [1.0, 0.0, 0.0]
    )


def random_batch(num_responses=40, seed=0) -> TokenBatch:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, 60, (num_responses,), generator=generator)
    T = int(lengths.sum())
    return make_batch(
        lengths.tolist(),
        3 * torch.rand(T, generator=generator),
        -5 * torch.rand(T, generator=generator),
        torch.randn(num_responses, generator=generator),
        torch.randint(2, (num_responses,), generator=generator),
    )


def test_turns_are_read_apart_and_absent_where_there_is_one():
    batch = replace(small(), turn=torch.tensor([1, 1, 3, 1]))
    measured = measure(batch, vocabulary_size=64)
    assert measured["entropy/turn/1"] == pytest.approx(4 / 3)  # (0 + 1 + 3) / 3
    assert math.isnan(measured["entropy/turn/2"])  # there was no second turn
    assert measured["entropy/turn/3"] == 2.0
    assert measured["entropy"] == 1.5
    assert not [name for name in measure(small(), vocabulary_size=64) if name.startswith("entropy/turn")]
    assert signal("entropy/turn/12") is SIGNALS["entropy/turn/<k>"]
    for name in ("entropy/turn/", "entropy/turn/0", "entropy/turn/x"):
        with pytest.raises(ValueError, match="sensor must be one of"):
            signal(name)


def test_readings_by_hand():
    measured = measure(small(), vocabulary_size=64, domains=["sum", "sum", "gcd"])
    assert measured["entropy"] == 1.5  # (0 + 1 + 2 + 3) / 4
    # mean square (0 + 1 + 4 + 9) / 4 = 3.5;  3.5 - 1.5² = 1.25
    assert measured["entropy/std"] == pytest.approx(math.sqrt(1.25))
    assert measured["entropy/p90"] == 3.0  # the fourth of four: ceil(0.9 · 4)
    assert measured["entropy/correct"] == 1.0  # (0 + 1 + 2) / 3
    assert measured["entropy/wrong"] == 3.0
    assert measured["entropy/positive"] == 1.0  # (0 + 1 + 2) / 3
    assert measured["entropy/negative"] == 3.0
    assert measured["starvation"] == 0.0  # one group, and its rewards differ
    assert measured["entropy/domain/sum"] == 1.5
    assert math.isnan(measured["entropy/domain/gcd"])  # its one response has no token
    assert measured["entropy/response"] == 2.0  # of (0 + 1 + 2) / 3 and 3; the empty one has none
    assert measured["entropy/top"] == 2.5  # of the largest of three, 2, and the only one, 3
    assert measured["surprisal"] == 2.5  # (1 + 2 + 3 + 4) / 4
    assert measured["pass_rate"] == pytest.approx(1 / 3)  # of responses, the empty one too
    assert measured["reward"] == pytest.approx(1 / 3)
    # x = log π: mean -2.5, centred (1.5, 0.5, -0.5, -1.5);  y = A: mean 0.5, centred (0.5, 0.5, 0.5, -1.5)
    # terms 0.75, 0.25, -0.25, 2.25: sum 3, over 4 tokens 0.75
    assert measured["covariance"] == pytest.approx(0.75)
    assert measured["covariance/positive"] == pytest.approx((0.75 + 0.25 - 0.25) / 4)
    assert measured["covariance/negative"] == pytest.approx(2.25 / 4)
    assert measured["covariance/top"] == pytest.approx(2.25)  # at least one token
    # s = (1-0)+(2-1)+(3-2), 4-3, 0: 3, 1, 0.  A = 1, 0, 0.  B = 1/3, -0.5/3, -0.5/3.  Variance of s (9+1)/3
    assert measured["coverage/psi"] == 3.0
    assert measured["coverage/psi_at_1"] == pytest.approx(3 / 3 - 0.5 / 3)
    assert measured["coverage/reward_per_nat"] == pytest.approx(3.0 / (10 / 3))
    assert math.isnan(measured["coverage/psi_error"])  # of one group


def test_the_sign_of_the_advantage_is_not_the_grade():
    """A right response can have an advantage of 0 with a quantile's baseline: it is of neither side."""
    measured = measure(
        make_batch([1, 1, 1], [1.0, 2.0, 3.0], [-1.0] * 3, [0.0, 0.5, 0.0], [1.0, 1.0, 0.0]),
        vocabulary_size=64,
    )
    assert measured["entropy/positive"] == 2.0
    assert math.isnan(measured["entropy/negative"])


def test_starvation_counts_groups():
    # groups 0 (1, 0), 1 (1, 1), 4 (0, 0, 0) and 2 (0.5): three of four teach nothing
    batch = make_batch([1] * 8, [1.0] * 8, [-1.0] * 8, [0.0] * 8, [1, 1, 0, 1, 0, 0, 0, 0.5])
    batch = replace(batch, group=torch.tensor([0, 1, 0, 1, 4, 4, 4, 2]))
    assert measure(batch, vocabulary_size=64)["starvation"] == 0.75
    assert measure(batch, vocabulary_size=64)["teaching_groups"] == 0.25


def test_kl_to_a_reference_by_hand():
    """d = log π_ref - log π = 0 and ln 2: k3 is 0 and 2 - 1 - ln 2, over two tokens."""
    batch = make_batch([1, 1], [1.0, 1.0], [-1.0, -1.0], [0.0, 0.0], [1, 0])
    assert "reference_kl" not in measure(batch, vocabulary_size=64)
    batch = replace(batch, reference_logprobs=torch.tensor([-1.0, -1.0 + math.log(2)]))
    measured = measure(batch, vocabulary_size=64)
    kl = (1 - math.log(2)) / 2
    assert measured["reference_kl"] == pytest.approx(kl)
    assert measured["reference_kl/nearness"] == pytest.approx(math.exp(-kl))


@pytest.mark.parametrize(("num_tokens", "rank"), [(1, 1), (9, 9), (10, 9), (11, 10), (20, 18), (21, 19)])
def test_p90_is_the_entropy_that_nine_tokens_in_ten_do_not_exceed(num_tokens, rank):
    """Nearest rank, ⌈0.9 T⌉: nine of ten is the ninth and no later one."""
    entropy = torch.arange(num_tokens).flip(0) + 1.0  # the k-th smallest is k
    batch = make_batch([num_tokens], entropy, [-1.0] * num_tokens, [1.0], [1.0])
    assert measure(batch, vocabulary_size=10**10)["entropy/p90"] == rank


def test_readings_equal_numpy_on_a_ragged_batch():
    batch = replace(random_batch(), group=torch.arange(40) // 4)
    measured = measure(batch, vocabulary_size=64)
    H, x, y = (t.double().numpy() for t in (batch.entropy, batch.logprobs, batch.advantages))
    terms = (x - x.mean()) * (y - y.mean())
    right = (batch.rewards.numpy() > 0.5)[batch.response.numpy()]
    responses = [H[batch.response.numpy() == i] for i in batch.response.unique().numpy()]
    prompt = batch.response.numpy() // 4
    off = [(H[prompt == p] - H.mean()).sum() for p in range(10)]
    expected = {
        "entropy": H.mean(),
        "entropy/std": H.std(),
        "entropy/standard_error": np.sqrt(10) * np.std(off, ddof=1) / len(H),
        "entropy/p90": np.quantile(H, 0.9, method="inverted_cdf"),
        "entropy/correct": H[right].mean(),
        "entropy/wrong": H[~right].mean(),
        "entropy/positive": H[y > 0].mean(),
        "entropy/negative": H[y < 0].mean(),
        "entropy/response": np.mean([own.mean() for own in responses]),
        "entropy/top": np.mean([np.sort(own)[::-1][: max(1, len(own) // 5)].mean() for own in responses]),
        "entropy/predicted_change": -np.cov(np.exp(x) * (x + H), y, bias=True)[0, 1],
        "entropy/bonus_effect": (np.exp(x) * (x + H) ** 2).mean(),
        "surprisal": -x.mean(),
        "pass_rate": batch.rewards.mean().item(),
        "reward": batch.rewards.mean().item(),
        "covariance": np.cov(x, y, bias=True)[0, 1],
        "covariance/positive": terms[y > 0].sum() / len(x),
        "covariance/negative": terms[y < 0].sum() / len(x),
        "covariance/top": np.sort(terms)[-int(0.002 * len(x)) :].mean(),
    }
    score = np.array([-(x + H)[batch.response.numpy() == i].sum() for i in range(40)]).reshape(10, 4)
    rewards = batch.rewards.numpy().reshape(10, 4)
    others = rewards.sum(axis=1, keepdims=True) - rewards
    alone = (rewards * (others == 0) * score).sum(axis=1)
    at_1 = ((rewards - others / 3) / 4 * score).sum(axis=1)
    assert (alone != 0).any(), "some group has a single right response"
    uniform = np.mean(np.ptp(rewards, axis=1) == 0)
    assert 0 < uniform < 1
    expected |= {
        "starvation": uniform,
        "teaching_groups": 1 - uniform,
        "coverage/psi": alone.mean(),
        "coverage/psi_error": alone.std(ddof=1) / np.sqrt(10),
        "coverage/psi_at_1": at_1.mean(),
        "coverage/psi_at_1_error": at_1.std(ddof=1) / np.sqrt(10),
        "coverage/reward_per_nat": alone.mean() / (score**2).mean(),
    }
    assert len(x) > 1000  # so that the top 0.2 % are more than one token
    assert measured == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_covariance_reading_predicts_the_entropy_change():
    """METHODS 1.2, natural policy gradient: Δz = η A gives ΔH ≈ -η Cov(log π, A)."""
    counts = torch.tensor([50, 25, 15, 7, 3])  # every token as often as its probability says
    advantage = torch.tensor([0.9, -0.4, 0.1, -1.2, 0.3], dtype=torch.float64)
    logits = (counts / counts.sum()).double().log()
    entropy = torch.distributions.Categorical(logits=logits).entropy()
    tokens = torch.repeat_interleave(counts)
    batch = make_batch([1] * 100, entropy.repeat(100), logits[tokens], advantage[tokens], torch.zeros(100))
    eta = 1e-4
    moved = torch.distributions.Categorical(logits=logits + eta * advantage).entropy()
    predicted = -eta * measure(batch, vocabulary_size=5)["covariance"]
    assert (moved - entropy).item() == pytest.approx(predicted, rel=1e-3)
    assert abs(predicted) > 1e-6


def test_sums_of_ranks_add_up_to_the_whole():
    batch = replace(random_batch(), group=torch.arange(40) // 4)  # a group is on one rank
    domains = ["a" if i // 4 % 3 else "b" for i in range(batch.num_responses)]
    groups = torch.randperm(10, generator=torch.Generator().manual_seed(1)).split(3)
    rows = [torch.cat([torch.arange(4) + 4 * group for group in each]) for each in groups]
    ranks = [sums(batch.select(r)[0], [domains[i] for i in r]) for r in rows]
    assert len(ranks) == 4
    whole = readings(sums(batch, domains))
    assert all(map(math.isfinite, whole.values()))
    assert readings(add(ranks)) == pytest.approx(whole, abs=1e-12)


def test_of_responses_that_the_policy_has_read_in_part_rewards_are_of_all():
    """The second response and the fourth; the others have no log-probs and no entropy."""
    batch = make_batch(
        [1] * 4, [0.5, 1.0, 0.5, 3.0], [-1.0, -2.0, -1.0, -4.0], [1.0, -1.0, 1.0, -1.0], [1, 0, 1, 1]
    )
    batch = replace(batch, group=torch.tensor([0, 0, 2, 2]))
    unread = torch.tensor([True, False, True, False])
    batch = replace(
        batch,
        entropy=batch.entropy.masked_fill(unread, math.nan),
        logprobs=batch.logprobs.masked_fill(unread, math.nan),
    )
    names, read = ["add", "sub", "mul", "sub"], torch.tensor([1, 3])
    found = measure(batch, vocabulary_size=64, domains=names, read=read)
    assert (found["entropy"], found["surprisal"]) == (2.0, 3.0)
    assert (found["entropy/correct"], found["entropy/wrong"]) == (3.0, 1.0)
    assert found["entropy/domain/sub"] == 2.0
    assert "entropy/domain/add" not in found
    assert (found["reward"], found["pass_rate"]) == (0.75, 0.75)
    assert (found["starvation"], found["teaching_groups"]) == (0.5, 0.5)
    everything = measure(small(), vocabulary_size=64)
    assert measure(small(), vocabulary_size=64, read=torch.arange(3)) == pytest.approx(
        everything, nan_ok=True
    )


def test_a_domain_may_be_on_one_rank_only():
    batch = small()
    ranks = [
        sums(batch.select(torch.tensor([0]))[0], ["sum"]),
        sums(batch.select(torch.tensor([1, 2]))[0], ["gcd", "gcd"]),
    ]
    total = readings(add(ranks))
    assert (total["entropy/domain/sum"], total["entropy/domain/gcd"]) == (1.0, 3.0)


def test_weights_of_the_loss_do_not_enter():
    batch = random_batch()
    other = replace(batch, weights=torch.rand(len(batch.weights)))
    assert measure(batch, vocabulary_size=64) == measure(other, vocabulary_size=64)


def test_nothing_to_read_is_nan_and_the_name_is_there():
    all_right = make_batch([2], [0.5, 0.5], [-0.1, -0.1], [0.0], [1.0])
    measured = measure(all_right, vocabulary_size=64)
    assert math.isnan(measured["entropy/wrong"])
    assert measured["entropy/correct"] == 0.5
    no_token = make_batch([0, 0], [], [], [0.0, 0.0], [1.0, 0.0])
    measured = measure(no_token, vocabulary_size=64)
    assert measured["pass_rate"] == 0.5
    for name in set(measured) - {"pass_rate", "reward", "starvation", "teaching_groups"}:
        assert math.isnan(measured[name]), name


def test_a_reading_that_is_not_finite_is_data():
    batch = replace(small(), entropy=torch.tensor([0.0, math.nan, 1.0, 1.0]))
    measured = measure(batch, vocabulary_size=64)
    assert math.isnan(measured["entropy"])
    assert measured["surprisal"] == 2.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entropy": torch.tensor([0.0, 1.0, 1.0, -0.01])}, "entropy below 0"),
        ({"entropy": torch.tensor([0.0, 1.0, 1.0, 2.31])}, "entropy above ln V"),  # ln 10 = 2.3026
        ({"logprobs": torch.tensor([0.01, -1.0, -1.0, -1.0])}, "log-probability above 0"),
    ],
)
def test_impossible_values_are_an_error(change, message):
    good = replace(small(), entropy=torch.tensor([0.0, 1.0, 1.0, 2.3026]))
    check(good, vocabulary_size=10)
    with pytest.raises(AssertionError, match=message):
        check(replace(good, **change), vocabulary_size=10)


def test_domains_name_every_response():
    with pytest.raises(ValueError, match="domains must name 3 responses, got 1"):
        measure(small(), vocabulary_size=64, domains=["sum"])


def test_every_reading_is_in_the_table_of_signals():
    measured = measure(small(), vocabulary_size=64, domains=["sum", "sum", "gcd"])
    for name in measured:
        assert signal(name).unit
        assert signal(name).description
    plain = {name for name in SIGNALS if "<" not in name}
    filtered = {name for name in SIGNALS if name.startswith(FILTERED)}
    assert filtered == {"entropy/filtered", "entropy/filtered/top"}
    of_reference = {"reference_kl", "reference_kl/nearness"}
    assert plain - filtered - of_reference == {name for name in measured if "domain" not in name}
    assert filtered | set(measured) == set(
        measure(cut(small()), vocabulary_size=64, domains=["sum", "sum", "gcd"])
    )


# Part of the vocabulary -------------------------------------------------------------------------------


def cut(batch: TokenBatch) -> TokenBatch:
    """With a filtered entropy that orders the tokens unlike the whole one."""
    return replace(batch, filtered_entropy=(batch.entropy * 7.3) % 1.0)


def test_filtered_readings_by_hand():
    batch = replace(small(), filtered_entropy=torch.tensor([0.5, 0.25, 0.0, 1.25]))
    measured = measure(batch, vocabulary_size=64)
    assert measured["entropy/filtered"] == 0.5  # (0.5 + 0.25 + 0 + 1.25) / 4
    # a response's top token each: (0.5 + 1.25) / 2
    assert measured["entropy/filtered/top"] == 0.875
    long = make_batch([10, 1], [0.0] * 11, [-1.0] * 11, [0.0, 0.0], [0.0, 0.0])
    long = replace(long, filtered_entropy=torch.tensor([*range(10), 20.0]))
    # two of ten, 8 and 9, and the one of one: (8.5 + 20) / 2, as SIREN's seq-mean-token-mean
    assert measure(long, vocabulary_size=64)["entropy/filtered/top"] == pytest.approx(14.25)


def test_filtered_readings_are_absent_where_nothing_is_filtered():
    assert not [name for name in measure(small(), vocabulary_size=64) if name.startswith(FILTERED)]


def test_filtered_readings_of_no_token_are_nan():
    no_token = make_batch([0, 0], [], [], [0.0, 0.0], [1.0, 0.0])
    measured = measure(replace(no_token, filtered_entropy=torch.zeros(0)), vocabulary_size=64)
    assert math.isnan(measured["entropy/filtered"])
    assert math.isnan(measured["entropy/filtered/top"])


def test_filtered_sums_of_ranks_add_up_to_the_whole():
    batch = replace(cut(random_batch()), group=torch.arange(40))
    rows = torch.randperm(batch.num_responses, generator=torch.Generator().manual_seed(1)).split(13)
    ranks = [sums(batch.select(r)[0]) for r in rows]
    assert readings(add(ranks)) == pytest.approx(readings(sums(batch)), abs=1e-12, nan_ok=True)


@pytest.mark.parametrize(
    "name", ["entropie", "entropy/domain/", "entropy/square", "coverage/domain/a", "coverage/domain//psi"]
)
def test_an_unknown_signal_is_refused(name):
    with pytest.raises(ValueError, match=f"got '{name}'"):
        signal(name)
