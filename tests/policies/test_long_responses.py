"""DAPO's soft penalty on the length and the treatment of truncated responses, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from policies.long_responses import Overlong, length_rewards

DAPO = Overlong(buffer_tokens=4096)
LONGEST = 20480


@pytest.mark.parametrize(
    ("length", "penalty"),
    [
        (0, 0.0),
        (16384, 0.0),  # L - B
        (16385, -1 / 4096),
        (18432, -0.5),  # half of the buffer
        (20480, -1.0),  # L
    ],
)
def test_the_penalty_of_dapo(length, penalty):
    lengths = torch.tensor([float(length)], dtype=torch.float64)
    assert DAPO.on(lengths, LONGEST).item() == pytest.approx(penalty, abs=1e-12)
    half = Overlong(buffer_tokens=4096, penalty=0.5)
    assert half.on(lengths, LONGEST).item() == pytest.approx(penalty / 2, abs=1e-12)


def rewards(**settings):
    settings = {"treatment": "keep", "overlong": None} | settings
    return length_rewards(
        torch.tensor([1.0, 1.0, 0.0, 1.0]),
        torch.tensor([False, True, True, False]),
        torch.tensor([4.0, 10.0, 10.0, 8.0], dtype=torch.float64),
        max_tokens=10,
        **settings,
    ).tolist()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [1, 1, 0, 1]),
        ({"treatment": "mask"}, [1, 1, 0, 1]),  # it counts in its group
        ({"treatment": "zero"}, [1, 0, 0, 1]),
        # In the last 4 tokens before 10: the second response has 4 of them, the fourth 2.
        ({"overlong": Overlong(buffer_tokens=4)}, [1, 0, -1, 0.5]),
        ({"treatment": "zero", "overlong": Overlong(buffer_tokens=4, penalty=0.5)}, [1, -0.5, -0.5, 0.75]),
    ],
)
def test_what_advantages_are_made_from(settings, expected):
    assert rewards(**settings) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"buffer_tokens": 0}, "buffer_tokens must be >= 1, got 0"),
        ({"buffer_tokens": 4, "penalty": 0.0}, "penalty must be > 0 and finite, got 0"),
        ({"buffer_tokens": 4, "penalty": math.inf}, "penalty must be > 0 and finite, got inf"),
    ],
)
def test_settings_out_of_bounds(settings, message):
    with pytest.raises(ValueError, match=message):
        Overlong(**settings)
