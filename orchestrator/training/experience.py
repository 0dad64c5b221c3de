"""One batch of experience: sample responses, grade them, look at them once with the policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from orchestrator.configuration.models import LearnerConfig
from policies.batch import TokenBatch, domain_code
from policies.loading import LoadedPolicy
from policies.rollouts.base import RolloutEngine, Sampling
from policies.sequences import Sequences, View, observe, token_index
from tasks import Problem
from tasks.grading import Grades, GradingPool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollouts:
    """``N = P * G`` graded responses, the ``G`` of a prompt side by side."""

    problems: Sequence[Problem]  # [N]
    prompts: Sequence[Tensor]  # [N] int64 token ids
    responses: Sequence[Tensor]  # [N] int64 token ids
    texts: Sequence[str]  # [N] decoded responses
    behaviour_logprobs: Tensor  # [T] float32, of the engine
    finished: Tensor  # [N] bool: ended by itself
    grades: Grades
    group: Tensor  # [N] int64
    temperature: float
    seconds: dict[str, float]

    @property
    def rewards(self) -> Tensor:
        """[N] float32."""
        return torch.tensor(self.grades.scores, dtype=torch.float32)

    @property
    def domains(self) -> list[str]:
        """[N] names."""
        return [problem.domain for problem in self.problems]

    def metrics(self, logprobs: Tensor) -> dict[str, float]:
        """Lengths, truncation, speed, what went wrong in grading, and how far the engine is off.

        ``logprobs`` [T] are the learner's own of the same tokens: zero gap but for rounding, or the
        responses are of another policy than the one that learns from them.
        """
        gap = (logprobs.cpu() - self.behaviour_logprobs).abs().double()
        lengths = torch.tensor([len(r) for r in self.responses], dtype=torch.float64)
        return {
            "rollout/length": lengths.mean().item(),
            "rollout/length/max": lengths.max().item(),
            "rollout/truncated": 1.0 - self.finished.double().mean().item(),
            "rollout/temperature": self.temperature,
            "rollout/logprob_gap": gap.mean().item(),
            "rollout/tokens_per_second": lengths.sum().item() / self.seconds["rollout"],
            "grader/timeouts": float(self.grades.num_timeouts),
            "grader/errors": float(self.grades.num_errors),
            "grader/crashes": float(self.grades.num_crashes),
        }


def collect(
    problems: Sequence[Problem],
    *,
    policy: LoadedPolicy,
    engine: RolloutEngine,
    graders: GradingPool,
    num_samples: int,
    sampling: Sampling,
) -> Rollouts:
    """Sample ``num_samples`` responses to each problem and grade them."""
    start = perf_counter()
    prompts = [policy.encode(problem.prompt) for problem in problems]
    groups = engine.generate(prompts, num_samples, sampling)
    completions = [completion for group in groups for completion in group]
    texts = policy.decode([completion.tokens for completion in completions])
    sampled = perf_counter()
    repeated = [problem for problem in problems for _ in range(num_samples)]
    grades = graders.grade(repeated, texts)
    graded = perf_counter()
    return Rollouts(
        problems=repeated,
        prompts=[prompt for prompt in prompts for _ in range(num_samples)],
        responses=[completion.tokens for completion in completions],
        texts=texts,
        behaviour_logprobs=torch.cat([completion.logprobs for completion in completions]),
        finished=torch.tensor([completion.finished for completion in completions]),
        grades=grades,
        group=torch.repeat_interleave(torch.arange(len(problems)), num_samples),
        temperature=sampling.temperature,
        seconds={"rollout": sampled - start, "grade": graded - sampled},
    )


def token_batch(
    rollouts: Rollouts, sequences: Sequences, policy: LoadedPolicy, settings: LearnerConfig, view: View
) -> TokenBatch:
    """The rollouts as the policy sees them before the update: log-probs and entropy of every token."""
    seen = observe(
        policy.model,
        sequences,
        view,
        micro_batch_size=settings.micro_batch_size or len(rollouts.problems),
    )
    response, position = token_index(sequences)
    advantages = settings.advantage(rollouts.rewards, rollouts.group)
    return TokenBatch(
        response=response,
        position=position,
        logprobs=seen.logprobs,
        old_logprobs=seen.logprobs,
        entropy=seen.entropy,
        advantages=advantages[response],
        weights=torch.zeros_like(seen.logprobs),  # given to each minibatch by the update
        rewards=rollouts.rewards,
        group=rollouts.group,
        domain=torch.tensor([domain_code(name) for name in rollouts.domains], dtype=torch.int64),
        filtered_logprobs=seen.filtered_logprobs,
        filtered_entropy=seen.filtered_entropy,
    ).to(policy.model.device)
