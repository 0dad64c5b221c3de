"""The interface of a task: problems with a verifiable answer, and a grader that says right or wrong."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Literal, get_args

from tasks.rewards import Reward, Score, combined

Split = Literal["train", "held_out"]

GradingNeed = Literal["network", "processes", "writing"]
"""What a grader can need beyond reading files, computing, and a scratch folder."""
GRADING_NEEDS: tuple[GradingNeed, ...] = get_args(GradingNeed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One prompt with what its grader needs.

    ``domain`` names the kind of problem (metrics and loops can be kept per domain); ``difficulty``
    is the task's own dial, larger is harder; ``facts`` are JSON-able extras for the grader.  ``system`` is
    the system's message that the data set puts before this prompt, empty where it has none.
    """

    prompt: str
    answer: str
    domain: str
    difficulty: float
    system: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What a model without a chat template reads: the system's message is a paragraph before the prompt."""
        return f"{self.system}\n\n{self.prompt}" if self.system else self.prompt


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A source of problems and the judge of their responses.

    A task is a frozen dataclass whose fields are its settings.  It is picklable, imports no torch,
    and is deterministic: ``problem`` depends on nothing but the fields and its arguments, so a
    resumed run sees the same problems and a held-out set is the same for every arm and seed.

    Most tasks end when the policy has responded.  A multi-turn task overrides ``reply``; an
    episode is then turns of the policy with replies between them, and the policy's last turn is graded:
    the outcome is the reward of the whole episode, and no turn has one of its own.
    """

    kind: ClassVar[str]

    reward: tuple[Reward, ...] = ()
    """Functions of your own that reward responses, in the place of the task's grader: ``rewards.py:partial_credit``, or
    a list, each ``{function: ..., weight: 2}``.  Evaluation counts a response as right where its reward is 1."""

    def reads(self) -> Mapping[str, Path | str]:
        """What it reads besides its settings, by the setting that names it.

        A file or a folder, whose content counts; or under a setting with its value, ``dataset: openai/gsm8k``, a
        text that is another where the content is another.

        Raises:
            ValueError: it cannot be read.
        """
        return {}

    def prepare(self) -> None:  # noqa: B027
        """Load what grading needs.  A worker calls it once, before the clock of any response runs.

        The worker may still do all that its user may: it gives up its rights afterwards.
        """

    @property
    def grading_needs(self) -> Collection[GradingNeed]:
        """What ``grade`` needs beyond reading files, computing, and a scratch folder: by default nothing.

        ``network``: sockets.  ``processes``: starting other programs.  ``writing``: files outside the
        scratch folder.  Workers give up what is not named here once the task is prepared.
        """
        return ()

    @abstractmethod
    def problem(self, split: Split, seed: int, index: int) -> Problem:
        """The ``index``-th problem of a split; no prompt is in both splits, whatever the seeds."""

    @abstractmethod
    def grade(self, problem: Problem, response: str) -> float:
        """Score of a response, of an episode its last turn: 0 (wrong) to 1 (right).

        May raise or hang: graders run in workers.
        """

    def score(self, problem: Problem, response: str) -> Score:
        """The reward of a response: of the functions of ``reward``, or of ``grade`` where there are none.

        May raise or hang, as ``grade``.
        """
        if not self.reward:
            return Score(float(self.grade(problem, response)), {})
        return combined(
            self.reward,
            {
                "prompt": problem.prompt,
                "response": response,
                "answer": problem.answer,
                "facts": dict(problem.facts),
            },
        )

    def rewards(self) -> Mapping[str, Reward]:
        """Every function that may reward a response, by its key below the task."""
        return {f"reward.{place}": each for place, each in enumerate(self.reward)}

    @abstractmethod
    def demonstrate(self, problem: Problem, rng: Random, error_rate: float) -> str:
        """A response as a beginner writes it: each digit or symbol is wrong with ``error_rate``.

        Built-in policies are warm-started on these; ``error_rate=0`` gives a right response, unless the task was
        asked for a misconception (see `tasks.misconceptions`).

        Raises:
            ValueError: the task has no worked solutions to show (it only verifies).
        """

    @abstractmethod
    def alphabet(self) -> str:
        """Every character that prompts, demonstrations and replies can hold, for character tokenizers."""

    def reply(self, problem: Problem, turns: Sequence[str]) -> str | None:
        """What the task says to the policy's turns so far, at least one; None ends the episode.

        Pure, and cheap whatever the turns hold: it runs in the learner's own process.
        """
        return None

    @property
    def answers_back(self) -> bool:
        """Whether ``reply`` can be anything but None."""
        return type(self).reply is not Task.reply

    def demonstrate_turn(self, problem: Problem, turns: Sequence[str], rng: Random, error_rate: float) -> str:
        """The turn of a beginner who has said ``turns`` so far."""
        return self.demonstrate(problem, rng, error_rate)
