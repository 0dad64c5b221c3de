"""Collects one batch of experience: sample responses, grade them, and measure them with the policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter

import torch
from torch import Tensor

from orchestrator.configuration.learner import LearnerConfig
from orchestrator.training.batch_shares import Cut, Drawing, Share
from orchestrator.training.ranks import Ranks
from policies.advantages import uniform_share
from policies.model.loading import LoadedPolicy
from policies.model.reference import ReferencePolicy
from policies.rollouts.base import Completion, RolloutEngine, Sampling
from policies.rollouts.episodes import EpisodeLimits, play
from policies.statistics.batch import TokenBatch, domain_code
from policies.statistics.repetition import repeated_share
from policies.statistics.response_statistics import Statistics, View
from policies.statistics.sequences import Sequences, token_index
from tasks import Problem, Task
from tasks.grading.pool import Grades, GradingPool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollouts:
    """``N = P * G`` graded responses, the ``G`` of a prompt side by side."""

    problems: Sequence[Problem]  # [N]
    prompts: Sequence[Tensor]  # [N] int64 token ids
    completions: Sequence[Completion]  # [N]
    grades: Grades
    group: Tensor  # [N] int64
    temperature: float
    seconds: dict[str, float]
    drawing: Drawing | None = None
    """None where groups without a signal are not replaced."""
    cut: Cut | None = None
    """None where the batch is all that was begun."""

    @classmethod
    def of(cls, whole: Share, num_samples: int, sampling: Sampling) -> Rollouts:
        """A whole batch as the learner takes it."""
        return cls(
            problems=[problem for problem in whole.problems for _ in range(num_samples)],
            prompts=[prompt for prompt in whole.prompts for _ in range(num_samples)],
            completions=whole.completions,
            grades=whole.grades,
            group=torch.repeat_interleave(torch.arange(len(whole.problems)), num_samples),
            temperature=sampling.temperature,
            seconds=whole.seconds,
            drawing=whole.drawing,
            cut=whole.cut,
        )

    @property
    def rewards(self) -> Tensor:
        """[N] float32."""
        return torch.tensor(self.grades.scores, dtype=torch.float32)

    @property
    def responses(self) -> list[Tensor]:
        """[N] int64 token ids, with the replies in an episode."""
        return [each.tokens for each in self.completions]

    @property
    def spoken(self) -> list[Tensor]:
        """[N] of bool, which tokens of a response are the policy's own."""
        return [each.spoken for each in self.completions]

    @property
    def lengths(self) -> Tensor:
        """[N] float64, the policy's own tokens."""
        return torch.tensor([each.logprobs.numel() for each in self.completions], dtype=torch.float64)

    @property
    def domains(self) -> list[str]:
        """[N] names."""
        return [problem.domain for problem in self.problems]

    @property
    def behaviour_logprobs(self) -> Tensor:
        """[T] float32, of the engine."""
        return torch.cat([each.logprobs for each in self.completions])

    @property
    def versions(self) -> Tensor | None:
        """[T] int64, updates behind the weights that sampled a token; None where the policy itself did."""
        versions = [each.versions for each in self.completions if each.versions is not None]
        return torch.cat(versions) if versions else None

    @property
    def turn(self) -> Tensor | None:
        """[T] int64, from 1, the turn that a token of the policy's own is of; None where there is but one."""
        turns = [each.turn[each.spoken] for each in self.completions if each.turn is not None]
        return torch.cat(turns) if turns else None

    def metrics(self, batch: TokenBatch, version: int, read: Tensor | None = None) -> dict[str, float]:
        """Lengths, truncation, repetition, speed, what went wrong in grading, and how far the engine is off.

        ``batch`` has the learner's own log-probs of the same tokens: zero gap but for rounding, or the
        responses are of another policy than the one that learns from them.  ``version`` is the number of
        updates behind that one, ``read`` [M] the responses that it has read; None is all.
        """
        N, lengths, versions = len(self.completions), self.lengths, self.versions
        staleness = torch.zeros(1) if versions is None else version - versions
        gap = (batch.logprobs.cpu() - self.behaviour_logprobs).abs().double()
        if read is not None:
            gap = gap[torch.isin(batch.response.cpu(), read)]
        more = {}
        if self.turn is not None:
            more = {"rollout/turns": sum(each.num_turns for each in self.completions) / N}
        if self.drawing is not None:
            more |= self.drawing.metrics(N // len(self.drawing.draws))
        if self.cut is not None:
            more |= self.cut.metrics(version)
        return more | {
            "rollout/length": lengths.mean().item(),
            "rollout/length/max": lengths.max().item(),
            "rollout/truncated": 1.0 - sum(each.finished for each in self.completions) / N,
            "rollout/repetition": repeated_share(self.responses),
            "rollout/starved_groups": uniform_share(self.rewards, self.group),
            "rollout/temperature": self.temperature,
            "rollout/logprob_gap": gap.mean().item(),
            "rollout/staleness": staleness.double().mean().item(),
            "rollout/staleness/max": float(staleness.max()),
            "rollout/tokens_per_second": lengths.sum().item() / self.seconds["rollout"],
            "grader/timeouts": float(self.grades.num_timeouts),
            "grader/errors": float(self.grades.num_errors),
            "grader/crashes": float(self.grades.num_crashes),
            "grader/regraded": float(self.grades.num_regraded),
            **{f"reward/{name}": mean for name, mean in self.grades.means.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Explorer:
    """Who tries problems: a policy through its engine, with graders, each rank its share.

    Learner, evaluation and start share it.  Without graders it can ``sample`` alone.
    """

    task: Task
    policy: LoadedPolicy
    engine: RolloutEngine
    limits: EpisodeLimits
    graders: GradingPool | None = None
    ranks: Ranks = field(default_factory=Ranks)

    def encode(self, problems: Sequence[Problem]) -> list[Tensor]:
        """[P] of int64 token ids, the prompts of the problems."""
        return [self.policy.encode(problem.prompt, problem.system) for problem in problems]

    def sample(
        self, problems: Sequence[Problem], prompts: Sequence[Tensor], num_samples: int, sampling: Sampling
    ) -> list[Completion]:
        """[P * G], the ``G`` responses to a problem side by side, or episodes where the task answers back."""
        with self.engine.session():
            if self.task.answers_back:
                groups = play(
                    self.engine,
                    self.policy,
                    prompts,
                    num_samples,
                    sampling,
                    reply=lambda which, turns: self.task.reply(problems[which], turns),
                    limits=self.limits,
                )
            else:
                groups = self.engine.generate(prompts, num_samples, sampling)
        return [completion for group in groups for completion in group]

    def collect(self, problems: Sequence[Problem], num_samples: int, sampling: Sampling) -> Share:
        """Sample ``num_samples`` responses to each problem, or episodes with it, and grade them.

        Each rank has its share of the problems, and all have the result.
        """
        return Share.join(self.ranks.gather(self.try_share(problems, num_samples, sampling)))

    def try_share(self, problems: Sequence[Problem], num_samples: int, sampling: Sampling) -> Share:
        """This rank's share of a batch."""
        ours = self.ranks.share(len(problems))
        sampling = replace(sampling, first_prompt=ours.start)
        return self.try_all(problems[ours.start : ours.stop], num_samples, sampling)

    def try_all(self, problems: Sequence[Problem], num_samples: int, sampling: Sampling) -> Share:
        """Sample responses to all of these problems, and grade them."""
        assert self.graders is not None, "rollouts are graded"
        start = perf_counter()
        prompts = self.encode(problems)
        completions = self.sample(problems, prompts, num_samples, sampling)
        texts = self.policy.decode([completion.last_turn for completion in completions])
        sampled = perf_counter()
        grades = self.graders.grade([problem for problem in problems for _ in range(num_samples)], texts)
        return Share(
            problems=list(problems),
            prompts=prompts,
            completions=completions,
            grades=grades,
            seconds={"rollout": sampled - start, "grade": perf_counter() - sampled},
        )


def token_batch(
    rollouts: Rollouts,
    sequences: Sequences,
    policy: LoadedPolicy,
    settings: LearnerConfig,
    view: View,
    ranks: Ranks,
    *,
    rewards: Tensor,
    reference: ReferencePolicy | None = None,
) -> tuple[TokenBatch, dict[str, float]]:
    """The rollouts as the policy sees them before the update: log-probs and entropy of every token.

    Advantages are made from ``rewards`` [N]; those of the batch are as graded.  Beside the batch come the metrics of
    the importance correction, if there is one.  If the update measures, old log-probs are the engine's, and what
    the policy gives is nan until then.
    """
    if settings.measure == "before_update":
        seen = ranks.observe(policy, sequences, view, cut=settings.micro_batches)
        old_logprobs = seen.logprobs
    else:
        old_logprobs = rollouts.behaviour_logprobs
        unknown = torch.full_like(old_logprobs, torch.nan)
        seen = Statistics(logprobs=unknown, entropy=unknown)
    reference_logprobs = None
    if reference is not None:
        with reference.shown() as other:
            plain = replace(view, masked_ids=other.masked_ids, vocabulary=None)
            reference_logprobs = ranks.observe(other, sequences, plain, cut=settings.micro_batches).logprobs
    response, position = token_index(sequences)
    advantages = settings.advantage(rewards, rollouts.group)
    corrected = settings.importance.weights(
        seen.logprobs,
        rollouts.behaviour_logprobs.to(seen.logprobs),
        response.to(seen.logprobs.device),
        len(rollouts.problems),
    )
    importance, metrics = corrected or (None, {})
    batch = TokenBatch(
        response=response,
        position=position,
        logprobs=seen.logprobs,
        old_logprobs=old_logprobs,
        entropy=seen.entropy,
        advantages=advantages[response],
        weights=torch.zeros_like(seen.logprobs),  # given to each minibatch by the update
        rewards=rollouts.rewards,
        group=rollouts.group,
        domain=torch.tensor([domain_code(name) for name in rollouts.domains], dtype=torch.int64),
        turn=rollouts.turn,
        filtered_logprobs=seen.filtered_logprobs,
        filtered_entropy=seen.filtered_entropy,
        reference_logprobs=reference_logprobs,
        importance=importance,
    )
    return batch.to(policy.model.device), metrics
