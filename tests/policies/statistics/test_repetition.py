import random

import pytest
import torch

from policies.advantages import uniform_share
from policies.statistics.repetition import repeated_share


def tensors(*responses):
    return [torch.tensor(response, dtype=torch.int64) for response in responses]


def counted(responses):
    """The same by counting tuples."""
    total = distinct = 0
    for response in responses:
        grams = [tuple(response[i : i + 8].tolist()) for i in range(len(response) - 7)]
        total, distinct = total + len(grams), distinct + len(set(grams))
    return 1 - distinct / total


def test_one_token_over_and_over():
    assert repeated_share(tensors([5] * 12)) == pytest.approx(4 / 5)  # 5 8-grams, all alike


def test_nothing_repeats():
    assert repeated_share(tensors(range(20))) == 0.0


def test_the_order_of_tokens_counts():
    ascending, mixed = list(range(8)), [1, 0, 2, 3, 4, 5, 6, 7]
    assert repeated_share(tensors(ascending + mixed)) == 0.0


def test_other_responses_do_not_count():
    assert repeated_share(tensors(range(8), range(8))) == 0.0


def test_no_8_gram_runs_over_the_end_of_a_response():
    assert repeated_share(tensors([1] * 9, [1] * 7, [1] * 8)) == pytest.approx(1 / 3)


@pytest.mark.parametrize("responses", [[], tensors([]), tensors([1, 2, 3], [], [1] * 7)])
def test_nothing_to_look_at_is_nan(responses):
    assert repeated_share(responses) != repeated_share(responses)


def test_it_counts_as_tuples_do():
    rng = random.Random(1)
    responses = tensors(*([rng.randrange(2) for _ in range(rng.randrange(60))] for _ in range(40)))
    assert repeated_share(responses) == counted(responses)
    assert 0.05 < counted(responses) < 0.5


def test_share_of_groups_whose_rewards_are_equal():
    rewards = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.3, 0.3, 0.3])
    group = torch.tensor([0, 0, 1, 1, 3, 3, 3])  # group 2 has no response
    assert uniform_share(rewards, group) == pytest.approx(2 / 3)
    assert uniform_share(torch.empty(0), torch.empty(0, dtype=torch.int64)) != 0.0
