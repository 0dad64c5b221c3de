"""The learning rate of an iteration, by hand and against the schedulers of torch and transformers."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup

from orchestrator.configuration.learner import LearnerConfig
from orchestrator.configuration.models import RunConfig
from orchestrator.training.learning_rate import LearningRate


def rates(phases=(), **settings):
    settings = LearnerConfig(iterations=12, learning_rate=1.0, **settings)
    rate = LearningRate(settings, phases)
    return [rate.at(iteration) for iteration in range(12)]


def test_constant_after_the_warm_up():
    assert rates() == [1.0] * 12
    assert rates(warmup_iterations=4) == [0.25, 0.5, 0.75, *[1.0] * 9]


def test_linear_to_the_floor_by_hand():
    # After 2 of warm-up: 1 - k / 10, or 0.2 + 0.8 (1 - k / 10)
    linear = rates(learning_rate_schedule="linear", warmup_iterations=2)
    assert linear == pytest.approx([0.5, 1.0, *(1 - k / 10 for k in range(10))])
    floor = rates(learning_rate_schedule="linear", warmup_iterations=2, learning_rate_floor=0.2)
    assert floor == pytest.approx([0.5, 1.0, *(0.2 + 0.8 * (1 - k / 10) for k in range(10))])


def test_cosine_is_half_way_in_the_middle():
    cosine = rates(learning_rate_schedule="cosine", learning_rate_floor=0.1)
    assert cosine[0] == 1.0
    assert cosine[6] == pytest.approx(0.1 + 0.9 / 2)
    assert all(before > after for before, after in pairwise(cosine))
    assert cosine[-1] > 0.1


def walked(make):
    """Rates of a scheduler that moves an optimiser from iteration to iteration."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = make(optimizer)
    found = []
    for _ in range(12):
        found.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return found


def test_cosine_is_that_of_torch_and_of_transformers():
    of_torch = walked(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=12, eta_min=0.1))
    assert rates(learning_rate_schedule="cosine", learning_rate_floor=0.1) == pytest.approx(of_torch)
    of_transformers = walked(lambda o: get_cosine_schedule_with_warmup(o, 0, 12))
    assert rates(learning_rate_schedule="cosine") == pytest.approx(of_transformers, abs=1e-12)


def phases(*changes):
    task = {"kind": "arithmetic"}
    phases = [{"start": start, "learning_rate_factor": factor, "task": task} for start, factor in changes]
    return RunConfig(task=task, learner={"iterations": 12}, phases=phases).phases


def test_a_phase_multiplies_the_rate_from_its_start_to_the_next():
    tripled = phases((2, 3.0), (4, 1.0))
    assert rates(tripled, warmup_iterations=4) == pytest.approx([0.25, 0.5, 2.25, 3.0, *[1.0] * 8])
    # 1 - k / 12, twice as much from 6 on
    linear = [1 - k / 12 if k < 6 else 2 * (1 - k / 12) for k in range(12)]
    assert rates(phases((6, 2.0)), learning_rate_schedule="linear") == pytest.approx(linear)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate_floor": 1.5}, "less than or equal to 1"),
        ({"learning_rate_schedule": "steps"}, "'constant', 'linear' or 'cosine'"),
        ({"learning_rate_floor": 0.1}, "learning_rate_floor must be 0 under the schedule 'constant'"),
        (
            {"learning_rate_schedule": "linear", "warmup_iterations": 12},
            "warmup_iterations must be below the 12 iterations",
        ),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        rates(**settings)
