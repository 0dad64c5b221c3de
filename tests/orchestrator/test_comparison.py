"""Statistics of a campaign: hand values, and what is said when there is nothing to say."""

import math

import numpy as np
import pytest

from orchestrator.comparison import (
    Estimate,
    change_correlation,
    changes,
    curve,
    entropy_and_reward,
    summarise,
)
from orchestrator.storage.run_data import ArmRecords, RunRecords, load_campaign, loop_names, sensed, setpoint
from orchestrator.storage.run_folder import CampaignFolder, CampaignInfo, RunFolder, RunInfo, Status


def test_spread_is_the_sample_standard_deviation():
    estimate = Estimate((1.0, 2.0, 4.5))
    # mean 7.5/3 = 2.5; deviations -1.5, -0.5, 2; squares 2.25 + 0.25 + 4 = 6.5; 6.5 / (3 - 1) = 3.25
    assert estimate.mean == pytest.approx(2.5)
    assert estimate.std == pytest.approx(math.sqrt(3.25))


def test_the_spread_of_one_seed_is_unknown_not_zero():
    assert Estimate((0.7,)).mean == 0.7
    assert math.isnan(Estimate((0.7,)).std)


def test_seeds_without_a_value_do_not_count():
    estimate = Estimate((math.nan, 3.0, 5.0))
    assert (estimate.num, estimate.mean) == (2, 4.0)
    assert Estimate((math.nan,)).num == 0
    assert math.isnan(Estimate(()).mean)


def make_run(path, train, evaluation=None, loops=None, status="done", arm="a", seed=0):
    """A run of `train[t]` metrics, and `evaluation[t]` where given."""
    folder = RunFolder(path / arm / f"seed-{seed}")
    config = {"loops": loops or {}}
    folder.write_info(RunInfo(campaign="c", arm=arm, seed=seed, method="m", config=config))
    folder.write_status(Status(status=status, iteration=len(train), num_iterations=len(train)))
    with folder.writer() as writer:
        for step, metrics in enumerate(train):
            writer.append(step, metrics)
        for step, metrics in (evaluation or {}).items():
            writer.append(step, metrics, kind="eval")
    return folder


def load(path) -> list[ArmRecords]:
    campaign = CampaignFolder(path)
    campaign.write_info(CampaignInfo(name="c"))
    return list(load_campaign(campaign).arms)


def loop_metrics(y, r=None, saturated=0.0, name="main"):
    metrics = {"y": y, "u": 0.0, "saturated": saturated, "r": math.nan if r is None else r}
    return {f"loop/{name}/{key}": value for key, value in metrics.items()}


def test_hand_values_of_a_controlled_arm(tmp_path):
    # ten iterations: entropy 1.0 once, then 0.5 four times, then on the setpoint of 0.4
    entropy = [1.0, 0.5, 0.5, 0.5, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4]
    train = [{"entropy": h, **loop_metrics(h, r=0.4, saturated=float(t < 3))} for t, h in enumerate(entropy)]
    evaluation = {
        0: {"eval/pass_at_1": 0.3, "eval/pass_at_8": 0.6},
        10: {"eval/pass_at_1": 0.7, "eval/pass_at_4": 0.8, "eval/pass_at_8": 0.9},
    }
    make_run(tmp_path, train, evaluation)
    (arm,) = load(tmp_path)
    summary = summarise(arm)
    assert summary.pass_at_1.mean == 0.7
    assert summary.pass_at_1_start.mean == 0.3
    assert (summary.k, summary.pass_at_k.mean) == (8, 0.9)
    assert summary.entropy_start.mean == pytest.approx(2 / 3)  # (1 + 0.5 + 0.5) / 3
    assert summary.entropy_final.mean == 0.4  # the last one of ten
    assert summary.rmse.mean == pytest.approx(math.sqrt((0.36 + 4 * 0.01) / 10))
    assert summary.settling.mean == 3  # 0.5, 0.5, 0.4, 0.4, 0.4: a mean error of 0.04, which is 10 %
    assert summary.saturation.mean == pytest.approx(0.3)
    assert summary.hold_error.mean == pytest.approx(0.0, abs=1e-12)


def test_hold_error_is_relative_and_of_the_last_quarter(tmp_path):
    train = [{"entropy": 9.0, **loop_metrics(9.0, r=0.5)}] * 6 + [
        {"entropy": 0.6, **loop_metrics(0.6, 0.5)}
    ] * 2
    make_run(tmp_path, train)
    (arm,) = load(tmp_path)
    assert summarise(arm).hold_error.mean == pytest.approx(0.2)  # 0.1 / 0.5


def test_a_filter_does_not_flatter_the_tracking_error(tmp_path):
    train = [{"entropy": 0.4 + 0.1 * (-1) ** t, **loop_metrics(0.4, r=0.4)} for t in range(10)]
    make_run(tmp_path, train, loops={"main": {"sensor": "entropy"}})
    (arm,) = load(tmp_path)
    assert summarise(arm).rmse.mean == pytest.approx(0.1)
    assert (
        summarise(arm).settling.mean == 0
    )  # of the mean of five readings, which the filter would have made too


@pytest.mark.parametrize(
    ("num", "inside", "settled"), [(20, 5, True), (20, 4, False), (60, 6, True), (60, 5, False)]
)
def test_settled_is_what_lasts_five_readings_and_the_last_tenth(tmp_path, num, inside, settled):
    heights = [1.0] * (num - inside) + [0.4] * inside
    make_run(tmp_path, [{"entropy": h, **loop_metrics(h, r=0.4)} for h in heights])
    (arm,) = load(tmp_path)
    assert summarise(arm).settling.num == settled


def test_an_arm_without_setpoint_has_no_tracking_figures(tmp_path):
    make_run(tmp_path, [{"entropy": 0.5, **loop_metrics(0.5)}] * 4)
    (arm,) = load(tmp_path)
    summary = summarise(arm)
    assert not summary.has_setpoint
    assert [est.num for est in (summary.rmse, summary.settling, summary.hold_error)] == [0, 0, 0]
    assert summary.saturation.num == 1


def test_the_main_loop_is_the_first_configured_one_with_a_setpoint(tmp_path):
    metrics = (
        loop_metrics(1.0, name="zz") | loop_metrics(2.0, r=3.0, name="b") | loop_metrics(4.0, r=5.0, name="a")
    )
    make_run(tmp_path, [metrics] * 2, loops={"zz": {}, "b": {}, "a": {}})
    run: RunRecords = load(tmp_path)[0].runs[0]
    assert loop_names(run) == ["zz", "b", "a"]
    assert run.main_loop == "b"
    assert setpoint(run).tolist() == [3.0, 3.0]
    assert sensed(run).tolist() == [2.0, 2.0]


def test_only_finished_runs_are_averaged(tmp_path):
    make_run(tmp_path, [{"entropy": 0.2}] * 4, seed=0)
    make_run(tmp_path, [{"entropy": 9.9}] * 2, seed=1, status="failed")
    (arm,) = load(tmp_path)
    summary = summarise(arm)
    assert (summary.num_done, summary.num_runs) == (1, 2)
    assert summary.entropy_final.values == (0.2,)
    assert [run.info.seed for run in arm.shown] == [0]


def test_an_arm_with_no_finished_run_is_drawn_but_has_no_figures(tmp_path):
    make_run(tmp_path, [{"entropy": 9.9}] * 2, status="running")
    (arm,) = load(tmp_path)
    assert summarise(arm).entropy_final.num == 0
    assert len(arm.shown) == 1


def test_a_run_that_never_started(tmp_path):
    folder = RunFolder(tmp_path / "a" / "seed-0")
    folder.write_info(RunInfo(campaign="c", arm="a", seed=0, method="m"))
    (arm,) = load(tmp_path)
    assert summarise(arm).num_done == 0
    assert curve(arm.shown, "entropy").steps.size == 0


def test_a_curve_has_the_mean_and_the_interval_of_the_seeds_that_have_the_step(tmp_path):
    make_run(tmp_path, [{"entropy": 1.0}, {"entropy": 2.0}, {"entropy": math.nan}], seed=0)
    make_run(tmp_path, [{"entropy": 3.0}, {"entropy": 6.0}, {"entropy": 5.0}], seed=1)
    (arm,) = load(tmp_path)
    drawn = curve(arm.shown, "entropy")
    assert drawn.steps.tolist() == [0, 1, 2]
    assert drawn.mean.tolist() == [2.0, 4.0, 5.0]
    # of 1 and 3: 2 ± t_{0.975, 1} · √2 / √2 = 2 ± 12.7062; of 2 and 6 twice that; of one value nothing
    assert drawn.low == pytest.approx([2 - 12.7062, 4 - 2 * 12.7062, 5.0], abs=1e-4)
    assert drawn.high == pytest.approx([2 + 12.7062, 4 + 2 * 12.7062, 5.0], abs=1e-4)
    assert drawn.num_seeds == 2


def test_the_fake_campaign_reads_as_it_was_written(make_campaign):
    campaign = load_campaign(make_campaign(seeds=(0, 1)))
    assert [arm.name for arm in campaign.arms] == ["grpo", "entropic", "aer"]
    grpo, entropic, aer = (summarise(arm) for arm in campaign.arms)
    assert grpo.entropy_final.mean == pytest.approx(0.036, abs=0.003)
    assert entropic.hold_error.mean < 0.05
    assert aer.saturation.mean > 0.5
    assert math.isnan(aer.settling.mean)
    assert np.isfinite(entropic.pass_at_1.std)


def test_a_prediction_belongs_to_the_change_that_follows_it(tmp_path):
    # predicted −1, −2, 1, ·; entropy 1.0, 0.9, 0.6, 0.7: changes −0.1, −0.3, +0.1
    pairs = zip([-1.0, -2.0, 1.0, 5.0], [1.0, 0.9, 0.6, 0.7])
    make_run(tmp_path, [{"entropy/predicted_change": p, "entropy": h} for p, h in pairs])
    (run,) = load(tmp_path)[0].runs
    predicted, measured = changes(run)
    assert predicted.tolist() == [-1.0, -2.0, 1.0]  # the last is followed by nothing
    assert measured == pytest.approx([-0.1, -0.3, 0.1])
    # centred −1/3, −4/3, 5/3 and 0, −0.2, 0.2: products 0.8/3 + 1/3 = 0.6; 42/9 and 0.08: 0.6/sqrt(0.3733)
    assert change_correlation(run) == pytest.approx(0.6 / math.sqrt(42 / 9 * 0.08))
    assert summarise(load(tmp_path)[0]).change_correlation.mean == pytest.approx(0.98198, abs=1e-5)


def test_a_gap_is_no_change_and_a_constant_has_no_correlation(tmp_path):
    train = [{"entropy/predicted_change": -1.0, "entropy": h} for h in (1.0, 0.9, 0.7, 0.4)]
    train[2]["entropy"] = math.nan
    make_run(tmp_path, train)
    (run,) = load(tmp_path)[0].runs
    assert changes(run)[1] == pytest.approx([-0.1])  # neither into nor out of what was not measured
    assert math.isnan(change_correlation(run))


def test_a_run_without_predictions_has_no_correlation(tmp_path):
    make_run(tmp_path, [{"entropy": 1.0}, {"entropy": 0.5}])
    assert math.isnan(change_correlation(load(tmp_path)[0].runs[0]))


def test_the_law_is_of_all_seeds_and_its_error_of_each(tmp_path):
    entropy = np.linspace(1.0, 0.2, 20)
    for seed in (0, 1):
        reward = 1.0 - 0.2 * np.exp(entropy)
        reward[3:] += 0.1 * seed  # in the second seed, all but the first three (15 %) are 0.1 better
        pairs = zip(entropy, reward)
        make_run(tmp_path, [{"entropy": h, "reward": r} for h, r in pairs], seed=seed)
    (arm,) = load(tmp_path)
    assert entropy_and_reward(arm.shown)[0].size == 40
    assert summarise(arm).law_error.values == pytest.approx((0.0, 0.1), abs=1e-9)
