"""Presets whose constants were once not those of their authors' code."""

from pathlib import Path

import pytest
import torch
import yaml

from policies.objectives.clipped_surrogate import clipped_surrogate

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
