"""Mismatch: the engine that samples and the learner do not agree on the policy."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from controllers.guardrails.base import Action, Ceiling, check_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch(Ceiling):
    """The log-probs of sampled tokens in the engine are not those in the learner.

    The default, 0.1, is a ratio that is off by 10 %, half of PPO's usual clip range of 0.2.  An engine in float32
    agrees to 1.2e-4 on its worst token, in bfloat16 to 0.24 on its worst; one with a stale output head is off
    by 1.06.  The patience is chosen: no run of docs/log.md had such a gap.
    """

    name: ClassVar[str] = "mismatch"
    reading: ClassVar[str] = "rollout/logprob_gap"
    measures: ClassVar[tuple[str, str]] = ("mean gap of log π", " nats/token")

    threshold: float = 0.1
    """Mean absolute difference [nats/token], above 0."""

    patience: int = 3
    """Readings in a row [iterations]."""

    action: Action = "warn"
    """What is done while it trips: ``warn`` says so, ``hold`` also keeps the commands of all loops, ``rollback`` goes
    back to the last good checkpoint with narrower limits, ``stop`` ends the run."""

    def __post_init__(self) -> None:
        check_settings(self, low=0.0, high=inf)
