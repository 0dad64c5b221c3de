"""E3's rule for the sampling temperature."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import ClassVar

from controllers.base import Law, Sample, State, Terms
from controllers.parts.coordinates import error_in


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRatio(Law):
    """v_k = u_{k−1} · (1 + u_{k−1} · ln(r/y) / (ln V + ln ln V))

    E3 (LiaoMengqi/E3-RL4LLMs, ``temperature_scheduler.py``), for the sampling temperature u = T: a
    Newton step toward ln H = ln H*, if d ln H / dT is (ln V + ln ln V) / T².  A command of zero stays
    zero.  E3 has no limits, and as its step grows with u² a temperature that does not help runs away
    in finite time; the loop's limits apply if given.

    One step a control instant, whatever ``dt`` is.  The memory makes it an integral law: right where
    entropy follows the command at once, as it does a temperature; oscillatory on a plant that
    integrates.
    """

    kind: ClassVar[str] = "log_ratio"

    vocabulary_size: int
    """V, entries of the model's output layer.  A larger one takes smaller steps."""

    def __post_init__(self) -> None:
        if self.vocabulary_size < 3:
            raise ValueError(f"vocabulary_size must be >= 3, got {self.vocabulary_size}")

    def init(self) -> State:
        return ()

    def step(self, state: State, sample: Sample) -> tuple[State, Terms]:
        log_v = log(self.vocabulary_size)
        log_ratio = error_in("log", r=sample.r, y=sample.y)
        i = sample.u * sample.u * log_ratio / (log_v + log(log_v))
        return state, {"memory": sample.u, "i": i}
