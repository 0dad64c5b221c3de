"""The sensors: readings of the policy from one iteration's batch, before the update.

    sums             totals and counts of one rank; they add up over ranks
    readings         the ratios of those sums, and what follows from them
    order_statistics quantiles, largest values, whole prompts and groups; these need all ranks' tokens gathered
    measure          all of it for a batch that is whole

Every mean is a sum over a sum, in float64, over all loss tokens alike; the aggregation weights of the
loss do not enter.  A reading without data (no correct response, no token) is nan, and its name is
still there, so a loop that reads it holds.  A domain appears when one of its responses does, and
``entropy/filtered`` if an actuator of the run names a part of the vocabulary.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from policies.advantages import uniform_share
from policies.statistics.coverage import COVERAGE_DOMAIN, SLOPES, coverage_readings, coverage_sums, scores
from policies.statistics.entropy_dynamics import bonus_effect, discriminator, predicted_change
from policies.statistics.own_sensors import OWN, own_readings
from policies.statistics.reference_kl import REFERENCE_KL, kl_estimate, nearness
from policies.statistics.responses import response_means, standard_error, top_means

if TYPE_CHECKING:
    from torch import Tensor

    from policies.statistics.batch import TokenBatch

Sums = dict[str, tuple[float, float]]
"""Name to (total, count)."""

CORRECT_ABOVE = 0.5
"""A response counts as correct where its reward is above this."""

TOP_FRACTION = 0.002
"""Share of tokens in ``covariance/top``: what KL-Cov regularises (0.2 %, METHODS 1.4)."""

ROUNDING = 1e-5
"""How far 0 <= H <= ln V and log π <= 0 may be missed, relative to ln V."""

DOMAIN = "entropy/domain/"

TURN = "entropy/turn/"
"""Prefix of the readings of one turn of episodes; they are absent where the task does not answer back."""

FILTERED = "entropy/filtered"
"""Prefix of the readings that need an actuator with a vocabulary; they are absent without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Unit and meaning of a reading."""

    unit: str
    description: str


def _signal(unit: str, description: str) -> Signal:
    return Signal(unit=unit, description=description)


SIGNALS: dict[str, Signal] = {
    "entropy": _signal("nats/token", "full-vocabulary entropy, mean over loss tokens"),
    "entropy/std": _signal("nats/token", "its standard deviation over tokens"),
    "entropy/standard_error": _signal(
        "nats/token", "how far `entropy` is off, if the prompts are drawn at random; nan for one prompt"
    ),
    "entropy/p90": _signal("nats/token", "entropy that nine tokens in ten do not exceed"),
    "entropy/correct": _signal("nats/token", "mean over tokens of correct responses"),
    "entropy/wrong": _signal("nats/token", "mean over tokens of wrong responses"),
    "entropy/positive": _signal("nats/token", "mean over tokens with a positive advantage"),
    "entropy/negative": _signal("nats/token", "mean over tokens with a negative advantage"),
    f"{DOMAIN}<name>": _signal("nats/token", "mean over tokens of responses to one domain of problems"),
    f"{TURN}<k>": _signal("nats/token", "mean over tokens of the k-th turns of episodes, from 1"),
    "entropy/response": _signal("nats/token", "mean over responses of the mean over their tokens (EGSW)"),
    "entropy/top": _signal("nats/token", "mean over responses of the mean of their top 20 % tokens (ERA)"),
    FILTERED: _signal("nats/token", "entropy within an actuator's vocabulary, mean over tokens (AEnt)"),
    f"{FILTERED}/top": _signal(
        "nats/token", "the same, mean over responses of the mean of their top 20 % (SIREN)"
    ),
    "entropy/predicted_change": _signal(
        "nats per unit step", "first-order change that the coming update makes, without any actuator's push"
    ),
    "entropy/bonus_effect": _signal(
        "nats per unit step and coefficient", "first-order change that an entropy bonus of 1 would add to it"
    ),
    "surprisal": _signal("nats/token", "-log π of the sampled tokens: entropy, estimated with noise"),
    REFERENCE_KL: _signal("nats/token", "KL(π, π_ref) to the reference policy, estimated by k3"),
    f"{REFERENCE_KL}/nearness": _signal(
        "fraction", "exp of -reference_kl: 1 at the reference; rises with the coefficient of the KL"
    ),
    "pass_rate": _signal("fraction", "correct responses"),
    "coverage/psi": _signal(
        "reward per unit of temperature", "slope of pass@G (of a group's best reward) in the temperature"
    ),
    "coverage/psi_error": _signal("reward per unit of temperature", "its standard error over groups"),
    "coverage/psi_at_1": _signal(
        "reward per unit of temperature", "slope of the mean reward in the temperature"
    ),
    "coverage/psi_at_1_error": _signal("reward per unit of temperature", "its standard error over groups"),
    "coverage/reward_per_nat": _signal(
        "reward per nat",
        "gain of pass@G for a nat more of a whole response: psi over the variance of its score",
    ),
    f"{COVERAGE_DOMAIN}<name>/psi": _signal(
        "reward per unit of temperature", "coverage/psi over the groups of one domain of problems"
    ),
    f"{COVERAGE_DOMAIN}<name>/psi_at_1": _signal(
        "reward per unit of temperature", "coverage/psi_at_1 over the groups of one domain of problems"
    ),
    "reward": _signal("reward", "mean over responses"),
    "starvation": _signal("fraction", "groups whose responses all have one reward; falls as entropy rises"),
    "teaching_groups": _signal("fraction", "the other groups, whose rewards differ; rises with entropy"),
    "covariance": _signal("nats", "Cov(log π, A) over tokens: positive where the update lowers entropy"),
    "covariance/positive": _signal("nats", "share of it from tokens with a positive advantage"),
    "covariance/negative": _signal("nats", "share of it from tokens with a negative advantage"),
    "covariance/top": _signal("nats", "mean of the largest 0.2 % of its terms: its heavy tail"),
}


def signal(name: str) -> Signal:
    """The entry of a reading in ``SIGNALS``; any domain's name is one, any turn's number, and any ``own/<name>``."""
    if name.startswith(DOMAIN) and name != DOMAIN:
        return SIGNALS[f"{DOMAIN}<name>"]
    if slope := re.fullmatch(f"{COVERAGE_DOMAIN}.+/({'|'.join(SLOPES)})", name):
        return SIGNALS[f"{COVERAGE_DOMAIN}<name>/{slope[1]}"]
    if re.fullmatch(f"{TURN}[1-9][0-9]*", name):
        return SIGNALS[f"{TURN}<k>"]
    if name.startswith(OWN):
        return _signal("–", "a sensor of the user's own")
    if name not in SIGNALS:
        raise ValueError(f"sensor must be one of {', '.join(SIGNALS)}, got {name!r}")
    return SIGNALS[name]


def measure(
    batch: TokenBatch,
    *,
    vocabulary_size: int,
    domains: Sequence[str] | None = None,
    read: Tensor | None = None,
) -> dict[str, float]:
    """All readings of a batch.

    Args:
        batch: as the policy gave it.
        vocabulary_size: V.
        domains: [N] names of the responses' domains.
        read: [M] int64, the responses that the policy has read; readings of rewards alone are of all.  None is all.
    """
    part, names = batch, domains
    if read is not None:
        part, _ = batch.select(read.to(batch.response.device))
        names = None if domains is None else [domains[each] for each in read.tolist()]
    check(part, vocabulary_size)
    found = readings(sums(part, names)) | order_statistics(part) | own_readings(part)
    return found if read is None else found | reward_readings(batch)


def check(batch: TokenBatch, vocabulary_size: int) -> None:
    """Assert 0 <= H <= ln V and log π <= 0.  Not finite is data, not an error: it passes."""
    ceiling = math.log(vocabulary_size)
    slack = ROUNDING * ceiling
    assert not (batch.entropy < -slack).any(), f"entropy below 0: {batch.entropy.min()}"
    assert not (batch.entropy > ceiling + slack).any(), f"entropy above ln V: {batch.entropy.max()}"
    assert not (batch.logprobs > slack).any(), f"log-probability above 0: {batch.logprobs.max()}"


def sums(batch: TokenBatch, domains: Sequence[str] | None = None) -> Sums:
    """Totals and counts of a batch; those of several ranks, with no group on two, are added with ``add``.

    The covariance terms are sums of 1, x, y and x·y for x = log π, y = A over tokens of one sign of A,
    counted over all tokens, so that the means they are centred on can come after the addition.
    """
    entropy, x, y = _values(batch.entropy), _values(batch.logprobs), _values(batch.advantages)
    rewards, response, group = _values(batch.rewards), batch.response.cpu(), batch.group.cpu()
    N, correct, spoken = batch.num_responses, rewards > CORRECT_ABOVE, batch.lengths.cpu() > 0
    of_domain = _of_domains(domains, N)
    token_correct, positive, negative = correct.index_select(0, response), y > 0, y < 0
    S = discriminator(x, entropy)
    result = {
        "entropy": _sum(entropy),
        "entropy/square": _sum(entropy.square()),
        "entropy/correct": _sum(entropy.masked_select(token_correct)),
        "entropy/wrong": _sum(entropy.masked_select(~token_correct)),
        "entropy/positive": _sum(entropy.masked_select(positive)),
        "entropy/negative": _sum(entropy.masked_select(negative)),
        "entropy/response": _sum(response_means(entropy, response, N).masked_select(spoken)),
        "entropy/top": _sum(top_means(entropy, response, N).masked_select(spoken)),
        "entropy/bonus_effect": _sum(bonus_effect(x, entropy)),
        "surprisal": _sum(-x),
        "pass_rate": _sum(correct.double()),
        "reward": _sum(rewards),
        "predicted_change/s": _sum(S),
        "predicted_change/sy": _sum(S * y),
    }
    moments = {"1": torch.ones_like(x), "x": x, "y": y, "xy": x * y}
    result |= {f"covariance/all/{moment}": _sum(values) for moment, values in moments.items()}
    for part, chosen in {"positive": positive.double(), "negative": negative.double()}.items():
        result |= {f"covariance/{part}/{moment}": _sum(values * chosen) for moment, values in moments.items()}
    result |= coverage_sums(rewards, group, scores(x, entropy, response, N), spoken, of_domain)
    if batch.filtered_entropy is not None:
        filtered = _values(batch.filtered_entropy)
        result[FILTERED] = _sum(filtered)
        result[f"{FILTERED}/top"] = _sum(top_means(filtered, response, N).masked_select(spoken))
    if batch.reference_logprobs is not None:
        result[REFERENCE_KL] = _sum(kl_estimate(x, _values(batch.reference_logprobs), "k3"))
    if batch.turn is not None:
        turn = batch.turn.cpu()
        for k in range(1, int(turn.max()) + 1 if len(turn) else 1):
            result[f"{TURN}{k}"] = _sum(entropy[turn == k])
    for name, responses in of_domain.items():
        result[DOMAIN + name] = _sum(entropy.masked_select(responses.index_select(0, response)))
    return result


def _of_domains(domains: Sequence[str] | None, num_responses: int) -> dict[str, Tensor]:
    """Masks [N] of the responses of each domain, by the names of the domains in order."""
    if domains is None:
        return {}
    if len(domains) != num_responses:
        raise ValueError(f"domains must name {num_responses} responses, got {len(domains)}")
    names = sorted(set(domains))
    number = {name: i for i, name in enumerate(names)}
    numbers = torch.tensor([number[name] for name in domains])
    return {name: numbers == i for name, i in number.items()}


def add(ranks: Iterable[Sums]) -> Sums:
    """The sums of the batches of several ranks together."""
    result: Sums = {}
    for part in ranks:
        for name, (total, count) in part.items():
            so_far = result.get(name, (0.0, 0.0))
            result[name] = (so_far[0] + total, so_far[1] + count)
    return result


def reward_readings(batch: TokenBatch) -> dict[str, float]:
    """The readings that the policy has no part in, as `measure` has them."""
    rewards = _values(batch.rewards)
    means = {"reward": rewards.mean().item(), "pass_rate": (rewards > CORRECT_ABOVE).double().mean().item()}
    return means | group_readings(batch)


def group_readings(batch: TokenBatch) -> dict[str, float]:
    """Shares of the groups whose rewards are all equal, and of the others."""
    starved = uniform_share(batch.rewards, batch.group)
    return {"starvation": starved, "teaching_groups": 1.0 - starved}


def readings(sums: Sums) -> dict[str, float]:
    """Means, spread and covariance from sums; nan where nothing was counted."""
    mean = {name: total / count if count else math.nan for name, (total, count) in sums.items()}
    x, y = mean["covariance/all/x"], mean["covariance/all/y"]

    def share(part: str) -> float:
        """Σ (x - x̄)(y - ȳ) over the part's tokens, divided by the number of all tokens."""
        one, sum_x, sum_y, sum_xy = (mean[f"covariance/{part}/{moment}"] for moment in ("1", "x", "y", "xy"))
        return sum_xy - y * sum_x - x * sum_y + x * y * one

    result = {
        name: value
        for name, value in mean.items()
        if name in SIGNALS or name.startswith((DOMAIN, TURN, COVERAGE_DOMAIN))
    }
    result |= coverage_readings(sums)
    variance = mean["entropy/square"] - mean["entropy"] ** 2
    result["entropy/std"] = math.sqrt(max(variance, 0.0)) if math.isfinite(variance) else math.nan
    result["entropy/predicted_change"] = predicted_change(
        mean["predicted_change/s"], y, mean["predicted_change/sy"]
    )
    if REFERENCE_KL in mean:
        result[f"{REFERENCE_KL}/nearness"] = nearness(mean[REFERENCE_KL])
    result["covariance"] = share("all")
    result["covariance/positive"] = share("positive")
    result["covariance/negative"] = share("negative")
    return result


def order_statistics(batch: TokenBatch) -> dict[str, float]:
    """``entropy/p90`` (nearest rank), ``covariance/top``, and what whole prompts and groups alone have."""
    T, groups = len(batch.response), group_readings(batch)
    if T == 0:
        return dict.fromkeys(("entropy/p90", "entropy/standard_error", "covariance/top"), math.nan) | groups
    entropy, x, y = _values(batch.entropy), _values(batch.logprobs), _values(batch.advantages)
    terms = (x - x.mean()) * (y - y.mean())
    return {
        "entropy/p90": entropy.kthvalue((9 * T + 9) // 10).values.item(),
        "entropy/standard_error": standard_error(entropy, batch.response.cpu(), batch.group.cpu()),
        "covariance/top": terms.topk(max(1, int(TOP_FRACTION * T))).values.mean().item(),
    } | groups


def _values(tensor: Tensor) -> Tensor:
    """Plain float64 numbers on the CPU: sums there do not depend on the accelerator."""
    return tensor.detach().cpu().double()


def _sum(values: Tensor) -> tuple[float, float]:
    return values.sum().item(), float(len(values))
