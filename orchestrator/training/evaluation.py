"""The held-out evaluation: the greedy pass rate, and pass@k from samples at the rollout temperature."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import comb

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from orchestrator.configuration.learner import MANY_SAMPLES
from orchestrator.configuration.models import RunConfig
from orchestrator.storage.metrics_log import MetricsWriter
from orchestrator.training.experience import Explorer
from orchestrator.training.seeds import derive_seed
from policies.rollouts.base import Sampling
from tasks import Problem

log = logging.getLogger(__name__)

PASS_SCORE = 1.0
"""A response passes when its score is this high."""


def pass_at_k(num_samples: int, num_passed: int, k: int) -> float:
    """Unbiased estimate of the chance that one of ``k`` samples passes: 1 - C(n-c, k) / C(n, k).

    Source: Chen et al. 2021 (arXiv 2107.03374), equation 1.
    """
    if not 1 <= k <= num_samples:
        raise ValueError(f"k must be between 1 and the {num_samples} samples, got {k}")
    return 1.0 - comb(num_samples - num_passed, k) / comb(num_samples, k)


def evaluation_metrics(
    problems: Sequence[Problem],
    greedy: Sequence[bool],
    sampled: Sequence[Sequence[bool]],
    pass_at: Iterable[int],
) -> dict[str, float]:
    """Means over problems, over each domain and over each difficulty.

    Args:
        problems: [P].
        greedy: [P], whether the greedy response passed.
        sampled: [P] of [n], whether each sample passed.
        pass_at: values of k.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    for problem, passed, samples in zip(problems, greedy, sampled, strict=True):
        row = {"pass_at_1": float(passed), "pass_rate": sum(samples) / len(samples)}
        row |= {f"pass_at_{k}": pass_at_k(len(samples), sum(samples), k) for k in pass_at}
        for name, score in row.items():
            scores[f"eval/{name}"].append(score)
            scores[f"eval/domain/{problem.domain}/{name}"].append(score)
            scores[f"eval/difficulty/{problem.difficulty:g}/{name}"].append(score)
    return {name: sum(values) / len(values) for name, values in scores.items()}


def start_notice(metrics: Mapping[str, float], num_samples: int) -> str | None:
    """Why training may have nothing to find, by the evaluation before it of so many samples; None where it has.

    Silent where fewer than ``MANY_SAMPLES`` were all wrong: those are too few to tell never from seldom.
    """
    if metrics["eval/pass_at_1"] == 1.0:
        return (
            "the start is right on every held-out problem when it samples greedily, so training has nothing to find; "
            "make the task harder, or the warm start worse (warm_start.error_rate, task.misconception)"
        )
    if metrics["eval/pass_at_1"] == metrics["eval/pass_rate"] == 0.0 and num_samples >= MANY_SAMPLES:
        return (
            f"the start is right in none of {num_samples} samples of held-out problems, and training learns from right "
            "ones; make the task easier, or the warm start longer"
        )
    return None


class Evaluator(Callback):
    """Evaluates before the first iteration, at a fixed interval, and after the last."""

    def __init__(
        self,
        *,
        config: RunConfig,
        seed: int,
        problems: Sequence[Problem],
        explorer: Explorer,
        writer: MetricsWriter | None,
    ) -> None:
        self.settings = config.evaluation
        self.rollout = config.rollout
        self.num_iterations = config.learner.iterations
        self.seed = seed
        self.problems = problems
        self.explorer = explorer
        self.writer = writer  # None on a rank that does not write
        self.last_step = -1  # in the checkpoint, so that no evaluation is held twice

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.last_step < 0:
            self.hold(0, trainer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        step = int(pl_module.iteration)  # type: ignore[arg-type]
        if step % self.settings.every == 0 or step == self.num_iterations:
            self.hold(step, trainer)

    def hold(self, step: int, trainer: Trainer) -> None:
        """Examine the policy as it is after ``step`` iterations, in the precision that it trains in."""
        with trainer.precision_plugin.forward_context():
            metrics = self.examine(step)
        if self.writer is not None:
            self.writer.append(step, metrics, kind="eval")
        self.last_step = step
        num_samples = len(self.problems) * self.settings.num_samples
        if step == 0 and self.writer is not None and (notice := start_notice(metrics, num_samples)):
            log.warning("%s", notice)

    def examine(self, step: int) -> dict[str, float]:
        """The metrics of an evaluation, without recording them."""
        greedy = self._scores(num_samples=1, temperature=0.0, step=step)
        sampled = self._scores(
            num_samples=self.settings.num_samples, temperature=self.rollout.temperature, step=step
        )
        metrics = evaluation_metrics(
            self.problems,
            [row[0] >= PASS_SCORE for row in greedy],
            [[score >= PASS_SCORE for score in row] for row in sampled],
            self.settings.pass_at,
        )
        if self.explorer.task.rewards():  # which may give credit to what does not pass
            metrics["eval/reward"] = sum(map(sum, sampled)) / (len(sampled) * self.settings.num_samples)
        return metrics

    def _scores(self, *, num_samples: int, temperature: float, step: int) -> list[list[float]]:
        sampling = Sampling(
            temperature=temperature,
            max_tokens=self.rollout.max_tokens,
            seed=derive_seed(self.seed, "evaluation", step),
        )
        scores = self.explorer.collect(self.problems, num_samples, sampling).grades.scores
        return [scores[i : i + num_samples] for i in range(0, len(scores), num_samples)]

    def state_dict(self) -> dict[str, int]:
        return {"last_step": self.last_step}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.last_step = state_dict["last_step"]
