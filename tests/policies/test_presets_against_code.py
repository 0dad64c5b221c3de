"""Presets whose constants were once not those of their authors' code."""

from pathlib import Path

import pytest
import torch
import yaml

from policies.actuators.one_sided import OneSided
from policies.advantages import MaxRL
from policies.objectives.clipped_surrogate import clipped_surrogate
from policies.statistics.batch import TokenBatch

METHODS = Path(__file__).parents[2] / "configs/methods"


def preset(name):
    return yaml.safe_load((METHODS / f"{name}.yaml").read_text())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ce_gppo", {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 10.0}),
        ("era", {"clip_low": 1.0, "clip_high": 1.0, "dual_clip": 10.0}),
        ("quantile_advantage", {"clip_low": 0.2, "clip_high": 0.28, "dual_clip": 10.0}),
        ("entropic_offpolicy", {"dual_clip": 3.0}),
        ("lp_reg", {"clip_low": 1.0, "clip_high": 9.0}),
    ],
)
def test_bounds_and_dual_clip_are_the_scripts(name, expected):
    objective = preset(name)["learner"]["objective"]
    assert {key: objective[key] for key in expected} == expected
    assert ("dual_clip" in objective) == ("dual_clip" in expected)


def test_lp_reg_keeps_the_gradient_of_a_wrong_token_at_a_ratio_above_ten():
    objective = preset("lp_reg")["learner"]["objective"]
    logprobs = torch.tensor([-1.0], dtype=torch.float64, requires_grad=True)
    loss = clipped_surrogate(
        logprobs,
        torch.tensor([-4.0], dtype=torch.float64),  # a ratio of e³ = 20
        torch.tensor([-1.0], dtype=torch.float64),
        clip_low=objective["clip_low"],
        clip_high=objective["clip_high"],
        dual_clip=objective.get("dual_clip"),
    )
    loss.sum().backward()
    assert float(logprobs.grad) == pytest.approx(20.0855, rel=1e-4)


def test_entropic_integrates_once_an_optimiser_step():
    """Four steps a batch and one control instant: the gain is four times the published 0.01."""
    content = preset("entropic_offpolicy")
    steps = content["learner"]["minibatches"] * content["learner"].get("epochs", 1)
    on_policy = preset("entropic")["loops"]["entropy"]["law"]
    law = content["loops"]["entropy"]["law"]
    assert law["ki"] == pytest.approx(steps * on_policy["ki"])
    assert law["kp"] == on_policy["kp"]


def test_entrocrafts_band_falls_and_its_three_positions_are_the_sides_that_teach():
    loop = preset("entrocraft")["loops"]["entropy"]
    band = loop["reference"]
    assert (band["start_nats"], band["end_nats"]) == ([0.6, 0.7], [0.4, 0.5])
    assert band.get("shape", "linear") == "linear"
    assert {key: loop["law"][key] for key in ("up", "middle", "down")} == {
        "up": 1.0,
        "middle": 0.0,
        "down": -1.0,
    }
    advantages = torch.tensor([1.5, -0.5], dtype=torch.float64)
    batch = TokenBatch(
        response=torch.arange(2),
        position=torch.zeros(2, dtype=torch.int64),
        logprobs=torch.zeros(2),
        old_logprobs=torch.zeros(2),
        entropy=torch.zeros(2),
        advantages=advantages,
        weights=torch.ones(2),
        rewards=torch.tensor([1.0, 0.0]),
        group=torch.zeros(2, dtype=torch.int64),
    )
    teach = {key: OneSided().advantages(batch, loop["law"][key]).tolist() for key in ("up", "middle", "down")}
    assert teach == {"up": [0.0, -1.0], "middle": [1.5, -0.5], "down": [1.0, 0.0]}


def test_maxrl_divides_by_the_mean():
    """tajwarfahim/maxrl: (r - mean) / mean, and 0 for a group without a success."""
    advantage = preset("maxrl")["learner"]["advantage"]
    assert advantage.pop("kind") == "maxrl"
    shaped = MaxRL(**advantage)(torch.tensor([1.0, 0, 0, 0, 0, 0]), torch.tensor([0, 0, 0, 0, 1, 1]))
    assert shaped.tolist() == pytest.approx([3.0, -1.0, -1.0, -1.0, 0.0, 0.0], abs=1e-5)
