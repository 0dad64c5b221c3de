"""Entropy-aware initialisation: a run starts from a policy with enough entropy to learn.

Jang & Kim (arXiv 2108.10533) redraw weights until the mean policy entropy of some rollouts is above
a threshold.  A pretrained language model cannot be redrawn, so redrawing is only for built-in policies.  For the
others there is the analogue that METHODS 7 suggests: raise the sampling temperature until the floor is met.
Entropy is measured after temperature, so the floor holds for the distribution that is sampled and trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

    from policies.model.loading import LoadedPolicy
    from policies.rollouts.base import Completion
    from policies.statistics.response_statistics import Statistics, View
    from policies.statistics.sequences import Sequences

LARGEST_FACTOR = 4.0
"""On the temperature: samples of what is hotter than that are noise, whatever their entropy."""

GROWTH = math.sqrt(2.0)
"""Factor on the temperature from one attempt to the next, until the floor lies between two of them."""

Entropy = Callable[[int, float], float]
"""Entropy [nats/token] of the policy that a seed makes, sampled at a temperature."""


Observe: TypeAlias = "Callable[[Sequences, View], Statistics]"
"""Measures every response token of some rows."""


class LowEntropyError(ValueError):
    """The floor was not met."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Initialisation:
    """What is asked of the fresh policy's entropy, and what to do where it has less."""

    floor_nats: float | None = None
    """Least entropy of the first rollouts [nats/token]; null asks for nothing and measures nothing."""

    action: Literal["accept", "redraw", "recalibrate"] = "accept"
    """Below the floor, ``accept`` warns and goes on; ``redraw`` makes the built-in policy again with the next
    seed; ``recalibrate`` raises the sampling temperature, as little as meets the floor."""

    max_attempts: int = 8
    """Policies or temperatures that are measured, the first included; with none of them at the floor the run
    ends with an error.  ``recalibrate`` spends what is left on a temperature that is less above the floor."""

    def __post_init__(self) -> None:
        if self.floor_nats is not None and not 0 < self.floor_nats < math.inf:
            raise ValueError(
                f"floor_nats must be > 0 and finite, or null for no floor, got {self.floor_nats}"
            )
        if self.action not in ("accept", "redraw", "recalibrate"):
            raise ValueError(f"action must be 'accept', 'redraw' or 'recalibrate', got {self.action!r}")
        least = 1 if self.action == "accept" else 2
        if self.max_attempts < least:
            raise ValueError(
                f"max_attempts must be >= {least} under {self.action!r} (the first measures what is there), "
                f"got {self.max_attempts}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What was decided: everything that a continued run has to know of it."""

    seed: int  # of the built-in policy
    temperature: float
    entropy_nats: float  # measured there
    num_attempts: int


def choose_start(settings: Initialisation, *, seed: int, temperature: float, entropy: Entropy) -> Start:
    """The first start that has the entropy asked for; the given one where the action is to accept it.

    Raises:
        LowEntropyError: none has.
        ValueError: an entropy is not finite, which says nothing of high or low.
    """
    floor = settings.floor_nats
    assert floor is not None, "nothing is asked for"
    entropy = _a_number(entropy)
    first = Start(seed=seed, temperature=temperature, entropy_nats=entropy(seed, temperature), num_attempts=1)
    if first.entropy_nats >= floor or settings.action == "accept":
        return first
    if settings.action == "redraw":
        return _redraw(first, floor, settings.max_attempts, entropy)
    return _recalibrate(first, floor, settings.max_attempts, entropy)


def rollout_entropy(
    policy: LoadedPolicy,
    prompts: Sequence[Tensor],
    responses: Sequence[Completion],
    *,
    temperature: float,
    observe: Observe,
) -> float:
    """Full-vocabulary entropy, mean over the tokens that the policy spoke [nats/token].

    Args:
        policy: what sampled the responses.
        prompts: [N] of int64 [length], one for each response.
        responses: [N].
        temperature: at which they were sampled.
        observe: measures the tokens by this policy; several ranks do it together.
    """
    from policies.statistics.response_statistics import View
    from policies.statistics.sequences import pack

    sequences = pack(
        prompts, [each.tokens for each in responses], policy.pad_id, [each.spoken for each in responses]
    )
    view = View(temperature=temperature, masked_ids=policy.masked_ids)
    return float(observe(sequences, view).entropy.double().mean())


def _a_number(entropy: Entropy) -> Entropy:
    """The same, refusing what cannot be compared with a floor."""

    def measured(seed: int, temperature: float) -> float:
        nats = entropy(seed, temperature)
        if not math.isfinite(nats):
            raise ValueError(
                f"policy.initialisation: the entropy of the fresh policy is {nats} at the temperature {temperature:g}, so "
                "its logits are not finite; choose another checkpoint"
            )
        return nats

    return measured


def _redraw(first: Start, floor: float, max_attempts: int, entropy: Entropy) -> Start:
    seen = [first.entropy_nats]
    for attempt in range(1, max_attempts):
        seed = first.seed + attempt
        seen.append(entropy(seed, first.temperature))
        if seen[-1] >= floor:
            return Start(
                seed=seed,
                temperature=first.temperature,
                entropy_nats=seen[-1],
                num_attempts=len(seen),
            )
    raise LowEntropyError(
        f"none of {len(seen)} policies, of seeds {first.seed} to {first.seed + max_attempts - 1}, has the "
        f"entropy of {floor:g} nats/token that policy.initialisation.floor_nats asks for (they have "
        f"{', '.join(f'{h:.3f}' for h in seen)}); lower the floor, shorten the warm start or raise its "
        "error_rate, or recalibrate instead of redraw"
    )


def _recalibrate(first: Start, floor: float, max_attempts: int, entropy: Entropy) -> Start:
    """Growing steps of temperature until one meets the floor, then bisection (of its logarithm) below that one."""
    low, found = first, None
    limit = LARGEST_FACTOR * first.temperature
    for attempt in range(2, max_attempts + 1):
        step = GROWTH * low.temperature if found is None else math.sqrt(low.temperature * found.temperature)
        temperature = min(step, limit)
        measured = Start(
            seed=first.seed,
            temperature=temperature,
            entropy_nats=entropy(first.seed, temperature),
            num_attempts=attempt,
        )
        if measured.entropy_nats >= floor:
            found = measured
        else:
            low = measured
            if found is None and temperature == limit:
                break
    if found is not None:
        return found
    raise LowEntropyError(
        f"no temperature up to {low.temperature:g}, in {low.num_attempts} attempts, gives the entropy of "
        f"{floor:g} nats/token that policy.initialisation.floor_nats asks for (at {low.temperature:g} it is "
        f"{low.entropy_nats:.3f}, at {first.temperature:g} {first.entropy_nats:.3f}); lower the floor, raise "
        "max_attempts, or start from another policy"
    )
