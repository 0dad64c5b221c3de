"""The evaluation: unbiased pass@k, and means over problems, domains and difficulties."""

from __future__ import annotations

from itertools import combinations

import pytest

from orchestrator.training.evaluation import evaluation_metrics, pass_at_k, start_notice
from tasks import Problem


def test_pass_at_k_by_hand():
    # 1 - C(n-c, k) / C(n, k)
    assert pass_at_k(4, 1, 2) == pytest.approx(1 - 3 / 6)
    assert pass_at_k(10, 3, 5) == pytest.approx(1 - 21 / 252)
    assert pass_at_k(8, 2, 1) == pytest.approx(2 / 8)
    assert pass_at_k(8, 0, 8) == 0.0
    assert pass_at_k(8, 1, 8) == 1.0
    assert pass_at_k(8, 8, 1) == 1.0


@pytest.mark.parametrize("num_passed", range(6))
@pytest.mark.parametrize("k", range(1, 6))
def test_pass_at_k_is_the_share_of_subsets_with_a_pass(num_passed, k):
    samples = [i < num_passed for i in range(5)]
    subsets = list(combinations(samples, k))
    assert pass_at_k(5, num_passed, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


@pytest.mark.parametrize("k", [0, 5])
def test_k_outside_the_samples(k):
    with pytest.raises(ValueError, match=f"k must be between 1 and the 4 samples, got {k}"):
        pass_at_k(4, 2, k)


def problem(domain, difficulty):
    return Problem(prompt="", answer="", domain=domain, difficulty=difficulty)


def test_metrics_by_domain_and_difficulty():
    problems = [problem("add", 2.0), problem("add", 3.0), problem("mul", 2.0)]
    sampled = [
        [True, True, False, False],  # pass@2 1 - 1/6
        [True, False, False, False],  # 1 - 3/6
        [False, False, False, False],  # 0
    ]
    metrics = evaluation_metrics(problems, [True, False, False], sampled, [2])
    assert metrics["eval/pass_at_1"] == pytest.approx(1 / 3)
    assert metrics["eval/pass_rate"] == pytest.approx((0.5 + 0.25 + 0) / 3)
    assert metrics["eval/pass_at_2"] == pytest.approx((5 / 6 + 1 / 2 + 0) / 3)
    assert metrics["eval/domain/add/pass_at_1"] == pytest.approx(1 / 2)
    assert metrics["eval/domain/add/pass_at_2"] == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert metrics["eval/domain/mul/pass_rate"] == 0.0
    assert metrics["eval/difficulty/2/pass_at_2"] == pytest.approx((5 / 6 + 0) / 2)
    assert metrics["eval/difficulty/3/pass_rate"] == pytest.approx(0.25)
    assert all(name.startswith("eval/") for name in metrics)


def test_lists_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="zip"):
        evaluation_metrics([problem("add", 1.0)], [True, False], [[True]], [])


@pytest.mark.parametrize(
    ("greedy", "sampled", "num_samples", "said"),
    [
        (1.0, 0.9, 8, "the start is right on every held-out problem when it samples greedily"),
        (0.0, 0.0, 64, "the start is right in none of 64 samples"),
        (0.0, 0.0, 63, None),
        (0.5, 0.0, 64, None),  # greedily it is right
        (0.0, 1 / 64, 64, None),
        (0.99, 1.0, 64, None),
    ],
)
def test_a_start_that_leaves_nothing_to_find_is_said(greedy, sampled, num_samples, said):
    notice = start_notice({"eval/pass_at_1": greedy, "eval/pass_rate": sampled}, num_samples)
    assert notice is None if said is None else notice.startswith(said)
