"""``entrostat validate --dry-run`` over the shipped recipes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.commands.dry_run import dry_run
from orchestrator.configuration.memory_estimate import longest_row
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError
from policies.model.memory import GIB

RECIPES = Path(__file__).parents[3] / "configs" / "recipes"
BILLIONS = {  # of the model cards
    "qwen2.5-1.5b-puzzles-one-gpu": 1.54,
    "qwen2.5-math-1.5b-one-gpu": 1.54,
    "qwen2.5-math-1.5b": 1.54,
    "qwen2.5-7b": 7.62,
    "qwen2.5-32b": 32.76,
}
PEAKS = re.compile(r"estimates a peak of ([\d.]+) GiB(?:, ([\d.]+) GiB with --set (\S+[^.\s]))?")


@pytest.mark.parametrize("name", BILLIONS)
def test_a_recipe_fits_the_devices_that_it_names(name):
    result = CliRunner().invoke(app, ["validate", str(RECIPES / f"{name}.yaml"), "--dry-run"])
    assert result.exit_code == 0, result.output
    assert f"{BILLIONS[name]:.2f} billion" in result.output
    for component in ("weights", "gradients", "optimiser", "activations", "logits", "peak"):
        assert component in result.output


@pytest.mark.parametrize("name", BILLIONS)
def test_a_recipe_states_the_peaks_that_are_estimated(name):
    path = RECIPES / f"{name}.yaml"
    found = PEAKS.search(path.read_text().replace("\n# ", " "))
    assert found is not None
    plain, changed, setting = found.groups()
    for stated, settings in ((plain, []), (changed, [setting])):
        if stated is not None:
            peaks = [needed.peak / GIB for _, needed in dry_run(read_campaign(path, settings), 80.0)]
            assert f"{max(peaks):.1f}" == stated


def test_every_recipe_is_tried():
    assert {path.stem for path in RECIPES.glob("*.yaml")} == set(BILLIONS)


def test_the_phases_take_turns_where_the_engine_sleeps():
    campaign = read_campaign(RECIPES / "qwen2.5-math-1.5b.yaml")
    ((_, asleep),) = dry_run(campaign, 80.0)
    awake = read_campaign(RECIPES / "qwen2.5-math-1.5b.yaml", ["rollout.engine.sleep=false"])
    ((_, beside),) = dry_run(awake, 80.0)
    share = 0.35 * 80 * GIB
    system = sum(beside.system.values())
    assert system >= 10 * GIB  # communication of four devices and recorded kernels among it
    assert beside.peak == pytest.approx(sum(beside.learner.values()) + share + system)
    state = 16 * asleep.shape.parameters // 4  # weights, gradients, two moments over four devices
    assert asleep.peak == pytest.approx(state + share + system)


def test_an_engine_that_samples_ahead_stays_and_has_a_copy_of_the_policy():
    """The learner's update and the engine's sampling overlap, in two processes."""

    def needed(*changes):
        ((_, estimate),) = dry_run(read_campaign(RECIPES / "qwen2.5-math-1.5b.yaml", changes), 80.0)
        return estimate

    turns, ahead = needed(), needed("rollout.ahead=1", "rollout.engine.sleep=false")
    assert not turns.engine_stays
    assert ahead.engine_stays
    copy = 4 * ahead.shape.parameters
    assert ahead.engine == {**turns.engine, "engine's copy of the policy": copy}
    assert sum(ahead.system.values()) == sum(turns.system.values()) + GIB
    assert ahead.peak == sum(turns.updating.values()) + sum(turns.engine.values()) + copy + GIB


def test_a_reference_policy_is_as_large_as_the_policy_but_inside_adapters():
    kl = "arms.0.loops.kl.actuator.kind=kl_coefficient"

    def reference(*changes):
        ((_, estimate), *_) = dry_run(read_campaign(RECIPES / "qwen2.5-math-1.5b.yaml", changes), 80.0)
        return estimate.system.get("reference policy"), estimate.learner["weights"]

    assert reference()[0] is None
    own, weights = reference(kl)
    assert own == weights
    assert reference(kl, "policy.lora.rank=8", "learner.strategy=ddp")[0] is None


def test_what_does_not_fit_names_the_largest_part_and_the_cure():
    settings = ["learner.recompute_activations=false", "learner.micro_batch_size=16"]
    with pytest.raises(ConfigError, match=r"most of it for activations .*; lower learner\.micro_batch_size"):
        dry_run(read_campaign(RECIPES / "qwen2.5-7b.yaml", settings), 80.0)


def test_a_share_that_cannot_hold_the_weights_is_refused_and_several_shares_may_hold_them():
    share = ["rollout.engine.memory_fraction=0.1"]
    with pytest.raises(
        ConfigError, match=r"memory_fraction: 0\.1 of 80 GiB must hold.*raise it or tensor_para"
    ):
        dry_run(read_campaign(RECIPES / "qwen2.5-7b.yaml", share), 80.0)
    several = [*share, "rollout.engine.tensor_parallel_size=4"]
    assert dry_run(read_campaign(RECIPES / "qwen2.5-7b.yaml", several), 80.0)


def test_a_model_of_unknown_shape_is_refused(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    campaign = read_campaign(RECIPES / "qwen2.5-7b.yaml", ["policy.source=nobody/nothing"])
    with pytest.raises(ConfigError, match=r"policy\.source: no config\.json of 'nobody/nothing' can be read"):
        dry_run(campaign, 80.0)


def test_the_built_in_policy_needs_none(write_campaign):
    with pytest.raises(ConfigError, match="needs no dry run"):
        dry_run(read_campaign(write_campaign()), 80.0)


def test_a_token_budget_is_what_takes_memory_of_packed_rows():
    """A budget of 4 rows of the longest length has the activations of 4 such rows, and no masks."""
    campaign = RECIPES / "qwen2.5-7b.yaml"
    length = longest_row(read_campaign(campaign).arms[0].config)
    ((_, padded),) = dry_run(read_campaign(campaign, ["learner.micro_batch_size=4"]), 200.0)
    budget = ["learner.micro_batch_size=null", f"learner.tokens_per_micro_batch={4 * length}"]
    ((_, packed),) = dry_run(read_campaign(campaign, budget), 200.0)
    assert packed.learner["activations"] == padded.learner["activations"]
    assert padded.learner["masks"] > packed.learner["masks"] == 0
