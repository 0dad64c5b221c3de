"""Batches are begun ahead in order, kept until they are learned from, and drawn again where nothing is learned."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch

from orchestrator.training.batches import Batches
from orchestrator.training.experience import Explorer
from orchestrator.training.prompts import PromptLoader
from orchestrator.training.ranks import Ranks
from policies.rollouts.base import Completion, RolloutEngine, Sampling
from tasks.grading.batch import Grades
from tasks.kinds.arithmetic import Arithmetic
from tests.orchestrator.training.learning import learning

TASK = Arithmetic(num_digits=2)
P, G, ITERATIONS = 4, 2, 6


class CountingEngine(RolloutEngine):
    """Responses of one token, the number of the prompt; it notes what it was asked and with which weights."""

    def __init__(self):
        self.version, self.asked, self.depth, self.outermost = 0, [], 0, 0

    @contextmanager
    def session(self):
        self.outermost += self.depth == 0
        self.depth += 1
        yield
        self.depth -= 1

    def push(self, version):
        self.version = version

    def generate(self, prompts, num_samples, sampling):
        numbers = [sampling.number(i) for i in range(len(prompts))]
        self.asked.append((sampling.seed, self.version, numbers))
        return [[self._response(number)] * num_samples for number in numbers]

    def _response(self, number):
        return Completion(
            tokens=torch.tensor([number]),
            logprobs=torch.zeros(1),
            finished=True,
            versions=torch.tensor([self.version]),
        )


class Plain:
    """As much of a policy as sampling takes: text in, text out; it notes what it encoded."""

    def __init__(self):
        self.encoded = []

    def encode(self, prompt, system=""):
        self.encoded.append(prompt)
        return torch.tensor(list(prompt.encode()))

    def decode(self, responses):
        return [str(int(tokens[0])) for tokens in responses]


class Graders:
    """Score 1 for the first response to a problem whose sum is even; other groups are uniform."""

    def grade(self, problems, texts):
        even = [int(problem.answer) % 2 == 0 for problem in problems]
        scores = [float(is_even and place % G == 0) for place, is_even in enumerate(even)]
        return Grades(scores=scores, num_timeouts=len(scores))


def explorer(ranks=None):
    return Explorer(
        task=TASK,
        policy=Plain(),
        engine=CountingEngine(),
        limits=None,
        graders=Graders(),
        ranks=ranks or Ranks(),
    )


def batches(ahead=0, who=None, **settings):
    prompts = PromptLoader(lambda _: TASK, seed=1, prompts_per_iteration=P, num_iterations=ITERATIONS)
    return Batches(who or explorer(), prompts, group_size=G, ahead=ahead, **settings)


def sampling_at(iteration, seed=0):
    return Sampling(temperature=1.0, max_tokens=3, seed=100 * seed + iteration)


def texts(rollouts):
    """What the token ids of a batch's prompts say."""
    return [bytes(prompt.tolist()).decode() for prompt in rollouts.prompts]


learn = learning(sampling_at)


@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_each_batch_is_sampled_once_with_weights_of_a_fixed_age(ahead):
    made = batches(ahead)
    found = learn(made, range(ITERATIONS))
    made.close()
    asked = made.explorer.engine.asked
    assert [(seed, version) for seed, version, _ in asked] == [
        (t, max(0, t - ahead)) for t in range(ITERATIONS)
    ]
    for t, rollouts in enumerate(found):
        expected = [TASK.problem("train", 1, t * P + place).prompt for place in range(P)]
        assert [problem.prompt for problem in rollouts.problems[::G]] == expected
        assert rollouts.versions.unique().tolist() == [max(0, t - ahead)]
    assert [text for rollouts in found for text in texts(rollouts)[::G]] == made.explorer.policy.encoded


def test_what_is_kept_is_taken_up_and_nothing_else_is_sampled_for_it():
    straight = learn(batches(2), range(ITERATIONS))
    before = batches(2, extra_rounds=1)
    learn(before, range(3))
    again = batches(2, extra_rounds=1)
    again.load_state_dict(before.state_dict(), 3, sampling_at)
    again.push(3)
    found = learn(again, range(3, ITERATIONS))
    assert {seed for seed, _, _ in again.explorer.engine.asked if seed < 100} == {5}
    assert all(texts(f) == [problem.prompt for problem in f.problems] for f in found)
    assert [f.versions.unique().tolist() for f in found] == [
        f.versions.unique().tolist() for f in straight[3:]
    ]


@pytest.mark.parametrize(
    ("changes", "seed"),
    [({}, 1), ({"group_size": 3}, 0), ({"prompts_per_iteration": 5}, 0), ({"seed": 2}, 0), ({"ahead": 0}, 0)],
)
def test_what_would_be_drawn_otherwise_now_is_drawn_again(changes, seed):
    before = batches(2)
    learn(before, range(3))
    again = batches(changes.pop("ahead", 2))
    again.group_size = changes.pop("group_size", G)
    for name, value in changes.items():
        setattr(again.prompts, name, value)
    again.load_state_dict(before.state_dict(), 3, lambda t: sampling_at(t, seed))
    assert again.state_dict() == {"batches": {}}


def test_groups_that_teach_nothing_are_replaced_by_address_whatever_the_ranks():
    made = batches(extra_rounds=3)
    whole = made.collect(2, sampling_at)
    assert texts(whole) == [problem.prompt for problem in whole.problems]
    scores = whole.rewards.reshape(P, G)
    assert (scores[:, 0] != scores[:, 1]).sum() > 2  # half of all would be, by chance
    plain = batches().collect(2, sampling_at)
    kept = [a.prompt == b.prompt for a, b in zip(whole.problems[::G], plain.problems[::G], strict=True)]
    was_mixed = plain.rewards.reshape(P, G).std(dim=1) > 0
    assert kept == was_mixed.tolist()
    assert 0 < sum(kept) < P

    drawing, engine = whole.drawing, made.explorer.engine
    assert len(engine.asked) > 1
    # Ranks meet where a session begins; those of the draws themselves are within the first.
    assert engine.outermost == 1
    metrics = drawing.metrics(G)
    assert drawing.num_groups * G == whole.grades.num_timeouts  # the faults of all draws
    assert metrics["rollout/extra_groups"] == drawing.num_groups / P - 1 > 0
    assert metrics["rollout/extra_rounds"] == max(drawing.draws) >= 1
    # Every draw but those that stayed uniform scores one of two.
    assert metrics["rollout/drawn_reward"] == drawing.score / (drawing.num_groups * G) < 0.5

    parts = []
    for rank in range(2):
        share = batches(who=explorer(Ranks(rank=rank, size=2)), extra_rounds=3)
        share._begin(2, sampling_at(2))
        parts.append(share._begun[2][0]())
    joined = type(parts[0]).join(parts)
    assert [p.prompt for p in joined.problems] == [p.prompt for p in whole.problems[::G]]
    assert joined.grades.scores == whole.grades.scores
    assert joined.drawing == drawing


def test_without_extra_rounds_nothing_is_drawn_again():
    made = batches()
    rollouts = made.collect(0, sampling_at)
    assert len(made.explorer.engine.asked) == 1
    assert rollouts.drawing is None


def test_a_failure_in_the_thread_is_the_callers():
    made = batches(1)
    made.explorer.engine.generate = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        made.collect(0, sampling_at)
    made.close()
