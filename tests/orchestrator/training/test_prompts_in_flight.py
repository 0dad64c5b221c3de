"""Prompts in flight: the first that end make a batch, the others go on or are dropped, and none is lost or doubled."""

from __future__ import annotations

import threading
from collections import Counter
from typing import ClassVar

import pytest
import torch

from orchestrator.training.batches import Batches
from orchestrator.training.experience import Explorer
from orchestrator.training.prompts import PromptLoader
from orchestrator.training.prompts_in_flight import PromptsInFlight
from orchestrator.training.ranks import Ranks
from policies.rollouts.base import Completion, RolloutEngine, Sampling
from policies.rollouts.in_flight import InFlight
from tasks.grading.batch import Grades
from tasks.kinds.arithmetic import Arithmetic
from tests.orchestrator.training.learning import learning

TASK = Arithmetic(num_digits=2)
P, G, ITERATIONS = 4, 2, 9
LONGEST, ROUND = 8, 2
PROMPT = 7  # the token that prompts are made of; responses count their tokens from 0


class Clockwork(RolloutEngine):
    """A response has as many tokens as its number says; every fifth prompt has two that reach the limit."""

    def __init__(self, push_every):
        self.push_every, self.version, self.asked = push_every, 0, []

    def push(self, version):
        if version % self.push_every == 0:
            self.version = version

    def generate(self, prompts, num_samples, sampling):
        self.asked.append((self.version, len(prompts)))
        rows = zip(prompts, map(sampling.number, range(len(prompts))), strict=True)
        return [[self._segment(number, len(prompt) - 1, sampling.max_tokens)] for prompt, number in rows]

    def _segment(self, number, start, most):
        end = min(length(number), start + most)
        tokens = torch.arange(start, end)
        return Completion(
            tokens=tokens,
            logprobs=torch.full(tokens.shape, -1.0),
            finished=end == length(number) < LONGEST,
            versions=torch.full(tokens.shape, self.version),
        )


def length(number):
    prompt, sample = divmod(number, G)
    return LONGEST if prompt % 5 == 0 else 1 + (prompt + sample) % 3


class Plain:
    context = None

    def encode(self, prompt, system=""):
        return torch.tensor([PROMPT])

    def decode(self, responses):
        return [str(len(tokens)) for tokens in responses]


class Graders:
    """The score of a response is its length over the longest."""

    def __init__(self):
        self.graded = []

    def grade(self, problems, texts):
        self.graded += [problem.text for problem in problems]
        return Grades(scores=[int(text) / LONGEST for text in texts], num_timeouts=len(texts))


def batches(ahead=0, ranks=None, max_wait=3, push_every=1, **settings):
    who = Explorer(
        task=TASK,
        policy=Plain(),
        engine=Clockwork(push_every),
        limits=None,
        graders=Graders(),
        ranks=ranks or Ranks(),
    )
    prompts = PromptLoader(lambda _: TASK, seed=1, prompts_per_iteration=P, num_iterations=ITERATIONS)
    in_flight = PromptsInFlight(
        who,
        prompts,
        InFlight(**{"prompts": 6, "round_tokens": ROUND} | settings),
        group_size=G,
        max_wait=max_wait,
    )
    return Batches(who, prompts, group_size=G, ahead=ahead, in_flight=in_flight)


def sampling_at(iteration, seed=0):
    return Sampling(temperature=1.0, max_tokens=LONGEST, seed=100 * seed + iteration)


learn = learning(sampling_at)


def numbers(rollouts):
    return [number for each in rollouts for number in each.cut.numbers]


def text(number):
    return TASK.problem("train", 1, number).text


def plain(rollouts):
    return [
        (
            each.cut,
            each.grades,
            [problem.text for problem in each.problems],
            [(c.tokens.tolist(), c.versions.tolist(), c.finished) for c in each.completions],
        )
        for each in rollouts
    ]


def test_the_first_that_end_make_the_batch_and_the_others_go_on_under_new_weights():
    made = batches()
    first, second = learn(made, range(2))
    # 0 and 5 reach the limit of 8 tokens, in the fourth round; the others end within two rounds.
    assert first.cut.numbers == [1, 2, 3, 4]
    assert (first.cut.num_rounds, first.cut.left_out_length) == (2, 2 * ROUND)
    # 6 to 9 are begun then, and end as soon as 0 and 5, which have two rounds behind them.
    assert second.cut.numbers == [0, 5, 6, 7]
    assert second.versions.tolist()[: 2 * LONGEST] == 2 * (4 * [0] + 4 * [1])
    assert [c.tokens.tolist() for c in second.completions[: 2 * G]] == [list(range(LONGEST))] * 2 * G
    assert not any(c.finished for c in second.completions[: 2 * G])  # cut at the limit
    assert all(c.finished for c in second.completions[2 * G :])
    assert [problem.text for problem in second.problems[::G]] == [text(n) for n in (0, 5, 6, 7)]
    assert second.rewards.tolist() == [len(c.tokens) / LONGEST for c in second.completions]
    assert second.cut.metrics(1) == {
        "rollout/rounds": 2.0,
        "rollout/begun_before": 0.5,
        "rollout/left_out_length": (3 + 1 + 1 + 2) / 4,  # 8 and 9, which have ended
    }


@pytest.mark.parametrize(
    ("ahead", "max_wait", "push_every", "prompts", "round_tokens"),
    [(0, 1, 1, 8, 1), (0, 3, 1, 6, 2), (2, 1, 1, 8, 2), (1, 2, 3, 5, 4)],
)
def test_none_is_lost_or_doubled_and_none_waits_longer_than_it_may(
    ahead, max_wait, push_every, prompts, round_tokens
):
    made = batches(
        ahead, max_wait=max_wait, push_every=push_every, prompts=prompts, round_tokens=round_tokens
    )
    found = learn(made, range(ITERATIONS))
    made.close()
    left = [group["number"] for group in made.state_dict()["in_flight"]["groups"]]
    assert sorted(numbers(found) + left) == list(range(P * ITERATIONS + prompts - P))
    assert Counter(made.explorer.graders.graded).most_common(1)[0][1] == G  # each response once
    waits = [t - begun for t, each in enumerate(found) for begun in each.cut.begun]
    assert 0 < max(waits) <= max_wait
    ages = [(t - each.versions).max().item() for t, each in enumerate(found)]
    assert ahead < max(ages) <= max_wait + ahead + push_every - 1


def test_what_may_not_wait_any_longer_is_waited_for():
    patient, bound = (learn(batches(max_wait=wait, round_tokens=1), range(2)) for wait in (9, 1))
    assert patient[1].cut.numbers == [6, 7, 8, 9]
    assert bound[1].cut.numbers == [0, 5, 6, 7]
    rounds = [each.cut.num_rounds for each in bound]
    assert (
        patient[1].cut.num_rounds < rounds[1] == LONGEST - rounds[0]
    )  # until 0 and 5 have all of their tokens


def test_what_is_dropped_leaves_only_weights_of_now_in_the_batch():
    made = batches(unfinished="dropped")
    found = learn(made, range(ITERATIONS))
    assert [each.versions.unique().tolist() for each in found] == [[t] for t in range(ITERATIONS)]
    assert len(set(numbers(found))) == P * ITERATIONS  # and nothing twice
    assert set(numbers(found)) < set(range(6 * ITERATIONS))
    assert all(number % 5 for number in numbers(found))  # the long ones never get in: that is the bias
    assert made.state_dict()["in_flight"]["groups"] == []
    assert set(made.explorer.graders.graded) == {text(number) for number in numbers(found)}


def test_what_was_begun_goes_on_where_enough_has_ended_before():
    _, second = learn(batches(prompts=2 * P, round_tokens=LONGEST), range(2))
    assert second.cut.numbers == [4, 5, 6, 7]
    assert second.cut.num_rounds == 1
    assert second.cut.left_out_length > 0
    assert second.versions.unique().tolist() == [0]


@pytest.mark.parametrize("ahead", [0, 2])
@pytest.mark.parametrize("unfinished", ["go_on", "dropped"])
def test_what_a_checkpoint_has_is_taken_up(ahead, unfinished):
    straight = batches(ahead, unfinished=unfinished)
    expected = learn(straight, range(ITERATIONS))
    before = batches(ahead, unfinished=unfinished)
    learn(before, range(4))
    again = batches(ahead, unfinished=unfinished)
    again.load_state_dict(before.state_dict(), 4, sampling_at)
    again.push(4)
    assert plain(learn(again, range(4, ITERATIONS))) == plain(expected[4:])
    for made in (straight, before, again):
        made.close()


@pytest.mark.parametrize("ahead", [0, 2])
def test_what_cannot_be_taken_up_is_begun_again_by_its_number(ahead):
    before = batches(ahead)
    found = learn(before, range(4))
    before.close()
    again = batches(ahead)
    again.load_state_dict(before.state_dict(), 4, lambda t: sampling_at(t, seed=1))  # as after a rollback
    again.push(4)
    after = learn(again, range(4, ITERATIONS))
    again.close()
    assert all(each.versions.min() >= 4 for each in after)
    left = [group["number"] for group in again.state_dict()["in_flight"]["groups"]]
    assert sorted(numbers(found + after) + left) == list(range(P * ITERATIONS + 2))
    assert set(after[0].cut.begun) == {4}


def test_a_run_in_which_the_setting_is_new_goes_on_with_prompts_it_has_not_seen():
    made = batches()
    made.load_state_dict({"batches": {}}, 4, sampling_at)
    assert min(numbers([made.collect(4, sampling_at)])) >= 4 * P


class Side(Ranks):
    """One of two ranks that are threads."""

    board: ClassVar[dict] = {}
    barrier = threading.Barrier(2, timeout=20)

    def apart(self, line):
        return self

    def gather(self, value):
        self.board[self.rank] = value
        self.barrier.wait()
        both = [self.board[0], self.board[1]]
        self.barrier.wait()
        return both


def test_ranks_change_nothing():
    alone = learn(batches(), range(5))
    found = {}

    def work(rank):
        made = batches(ranks=Side(rank=rank, size=2))
        found[rank] = learn(made, range(5)), made.explorer.engine.asked

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert plain(found[0][0]) == plain(found[1][0]) == plain(alone)
    counts = [[count for _, count in found[rank][1]] for rank in range(2)]
    assert len(counts[0]) == len(counts[1])  # all sample in every round, as a policy that they share asks for
    assert min(map(sum, counts)) > 0


def test_a_grader_that_fails_is_the_callers():
    made = batches()
    made.explorer.graders.grade = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        made.collect(0, sampling_at)


def test_a_prompt_without_room_for_a_whole_response_is_refused_before_its_first_round():
    made = batches()
    made.explorer.policy.context = LONGEST  # a prompt of one token and all rounds but the last would fit
    with pytest.raises(ValueError, match=rf"a prompt of 1 tokens and a response of up to {LONGEST} "):
        made.collect(0, sampling_at)
    assert made.explorer.engine.asked == []
