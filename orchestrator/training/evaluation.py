"""The held-out evaluation: the greedy pass rate, and pass@k from samples at the rollout temperature."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import comb

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from orchestrator.configuration.evaluation import EVALUATION
from orchestrator.configuration.learner import MANY_SAMPLES
from orchestrator.configuration.models import RunConfig
from orchestrator.storage.metrics_log import MetricsWriter
from orchestrator.training.best_policy import BestPolicy
from orchestrator.training.guardrails import Guardrails
from orchestrator.training.held_out import HeldOutSet
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
    prefix: str = EVALUATION,
) -> dict[str, float]:
    """Means over problems, over each domain and over each difficulty.

    Args:
        problems: [P].
        greedy: [P], whether the greedy response passed.
        sampled: [P] of [n], whether each sample passed.
        pass_at: values of k.
        prefix: what their names begin with.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    for problem, passed, samples in zip(problems, greedy, sampled, strict=True):
        row = {"pass_at_1": float(passed), "pass_rate": sum(samples) / len(samples)}
        row |= {f"pass_at_{k}": pass_at_k(len(samples), sum(samples), k) for k in pass_at}
        for name, score in row.items():
            scores[f"{prefix}{name}"].append(score)
            scores[f"{prefix}domain/{problem.domain}/{name}"].append(score)
            scores[f"{prefix}difficulty/{problem.difficulty:g}/{name}"].append(score)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What the responses to ``P`` held-out problems scored."""

    greedy: list[float]
    """[P], of the greedy response."""
    sampled: list[list[float]]
    """[P] of [n], of each sample."""

    @property
    def passed_greedily(self) -> list[bool]:
        """[P], whether the greedy response passed."""
        return [score >= PASS_SCORE for score in self.greedy]

    @property
    def passed(self) -> list[list[bool]]:
        """[P] of [n], whether each sample passed."""
        return [[score >= PASS_SCORE for score in row] for row in self.sampled]


class Evaluator(Callback):
    """Evaluates before the first iteration, at a fixed interval, and after the last; each set at its own pace.

    The first of ``sets`` is the run's own.  What they measure is shown to ``best``, which keeps the best policy, and
    to those ``guardrails`` that look at evaluations.  ``tell`` is told meanwhile how much of an evaluation is done.
    """

    def __init__(
        self,
        *,
        config: RunConfig,
        seed: int,
        sets: Sequence[HeldOutSet],
        writer: MetricsWriter | None,
        best: BestPolicy | None = None,
        guardrails: Guardrails | None = None,
        tell: Callable[[float], None] | None = None,
    ) -> None:
        self.rollout = config.rollout
        self.num_iterations = config.learner.iterations
        self.seed = seed
        self.sets = sets
        self.writer = writer  # None on a rank that does not write
        self.best = best
        self.guardrails = guardrails
        self.tell = tell
        self.last_step = -1  # in the checkpoint, so that no evaluation is held twice

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.last_step < 0:
            self.hold(0, self.sets, trainer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        step = int(pl_module.iteration)  # type: ignore[arg-type]
        is_last = step == self.num_iterations
        if due := [each for each in self.sets if is_last or step % each.settings.every == 0]:
            self.hold(step, due, trainer)

    def hold(self, step: int, due: Sequence[HeldOutSet], trainer: Trainer) -> None:
        """Examine the policy as it is after ``step`` iterations, in the precision that it trains in."""
        metrics: dict[str, float] = {}
        with trainer.precision_plugin.forward_context(), self._telling(due):
            for each in due:
                metrics |= self.examine(each, step)
        if self.writer is not None:
            self.writer.append(step, metrics, kind="eval")
        self.last_step = step
        num_samples = len(due[0].problems) * due[0].settings.num_samples
        if step == 0 and self.writer is not None and (notice := start_notice(metrics, num_samples)):
            log.warning("%s", notice)
        if self.best is not None:
            self.best.consider(step, metrics)
        if self.guardrails is not None and self.guardrails.read_evaluations:
            self.guardrails.watch(max(0, step - 1), metrics)
            self.guardrails.act_on_evaluation(is_last=step == self.num_iterations)

    def _telling(self, due: Sequence[HeldOutSet]) -> AbstractContextManager[None]:
        """Tell which share of the responses this process has; the turns of episodes cannot be known."""
        if self.tell is None or any(each.explorer.task.answers_back for each in due):
            return nullcontext()
        tell, here = self.tell, 0
        num_responses = sum(
            len(each.explorer.ranks.share(len(each.problems))) * (1 + each.settings.num_samples)
            for each in due
        )

        def hear(more: int) -> None:
            nonlocal here
            here += more
            tell(here / num_responses)

        return due[0].explorer.engine.told_to(hear)

    def examine(self, held_out: HeldOutSet, step: int) -> dict[str, float]:
        """The metrics of one set, without recording them."""
        settings, scores = held_out.settings, self.scores(held_out, step)
        metrics = evaluation_metrics(
            held_out.problems,
            scores.passed_greedily,
            scores.passed,
            settings.pass_at,
            prefix=held_out.prefix,
        )
        if held_out.explorer.task.rewards():  # which may give credit to what does not pass
            mean = sum(map(sum, scores.sampled)) / (len(scores.sampled) * settings.num_samples)
            metrics[f"{held_out.prefix}reward"] = mean
        return metrics

    def scores(self, held_out: HeldOutSet, step: int) -> Scores:
        """Try every problem of one set: greedily once, and by samples at the rollout temperature."""
        of_set = () if held_out.prefix == EVALUATION else (held_out.prefix,)
        sampling = Sampling(
            temperature=self.rollout.temperature,
            max_tokens=self.rollout.max_tokens,
            seed=derive_seed(self.seed, "evaluation", step, *of_set),
            greedy_first=True,  # side by side, so that the longest response is waited for once
        )
        each = 1 + held_out.settings.num_samples
        scores = held_out.explorer.collect(held_out.problems, each, sampling).grades.scores
        rows = [scores[i : i + each] for i in range(0, len(scores), each)]
        return Scores(greedy=[row[0] for row in rows], sampled=[row[1:] for row in rows])

    def state_dict(self) -> dict[str, int]:
        return {"last_step": self.last_step}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.last_step = state_dict["last_step"]
