"""Losses are said first and in the words of gains, against the same baseline as the table's."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from orchestrator.comparison import Estimate, summarise
from orchestrator.comparison.comparison import compare
from orchestrator.report.headline import HOLD, entropy_title, findings
from orchestrator.report.tables import statistics
from orchestrator.report.terminal import print_table
from orchestrator.storage.run_data import load_campaign
from orchestrator.storage.run_folder import CampaignFolder, CampaignInfo, RunInfo, Status


@pytest.fixture
def make(tmp_path):
    """`make({"arm": [(start, end), ...]})`: a campaign of evaluations, a pair a seed."""

    def of(arms):
        folder = CampaignFolder(tmp_path / "c")
        folder.write_info(CampaignInfo(name="c"))
        for arm, pairs in arms.items():
            for seed, (start, end) in enumerate(pairs):
                run = folder.run(arm, seed)
                run.write_info(RunInfo(campaign="c", arm=arm, seed=seed, method=arm))
                with run.writer() as writer:
                    for step, score in ((0, start), (10, end)):
                        writer.append(step, {"eval/pass_at_1": score}, kind="eval")
                run.write_status(Status(status="done", iteration=10, num_iterations=10))
        return load_campaign(folder)

    return of


def eight(start, end):
    return [(start, end + 0.001 * seed) for seed in range(8)]


def test_an_arm_that_fell_below_its_own_start_is_the_first_sentence(make):
    campaign = make({"grpo": eight(0.5, 0.6), "good": eight(0.5, 0.8), "bad": eight(0.5, 0.3)})
    comparison = compare(campaign)
    said = findings(comparison)
    # the mean of 0.001 · seed is 0.0035; three arms, p = 3 · 2/2⁸
    assert re.fullmatch(
        r"`bad` ended below its own start: held-out greedy pass rate −0\.197 \(95 % \[−0\.\d+, −0\.\d+\] by bootstrap, p = 0\.023, 8 seeds\)\.",
        said[0],
    )
    assert said[1].startswith("`bad` ended below `grpo`: held-out greedy pass rate −0.300 (")
    gains = [sentence for sentence in said if "ended above" in sentence]
    assert {re.match(r"(`\w+`) ended above (.*?):", each).groups() for each in gains} == {
        ("`grpo`", "its own start"),
        ("`good`", "its own start"),
        ("`good`", "`grpo`"),
    }
    assert said.index(gains[0]) > 1


def test_a_loss_that_is_not_told_from_chance_is_said_too_and_first(make):
    campaign = make({"grpo": [(0.5, 0.6)] * 3, "bad": [(0.5, 0.4), (0.5, 0.45), (0.5, 0.42)]})
    said = findings(compare(campaign))
    # the changes −0.1, −0.05 and −0.08; from grpo −0.2, −0.15 and −0.18
    assert said[0].startswith(
        "Held-out greedy pass rate ended below its own start: `bad` −0.077; too few seeds: 3 give"
    )
    assert said[1].startswith(
        "Held-out greedy pass rate ended below `grpo`: `bad` −0.177; too few seeds: 3 give no p below 0.25"
    )


@pytest.mark.parametrize("baseline", ["grpo", "good", "bad"])
def test_the_headline_has_the_baseline_and_the_correction_of_its_table(make, baseline):
    arms = {"grpo": eight(0.5, 0.6), "good": eight(0.5, 0.8), "bad": eight(0.5, 0.3)}
    comparison = compare(make(arms), baseline=baseline)
    text = " ".join(findings(comparison))
    against = set(re.findall(r"`\w+` ended (?:above|below) `(\w+)`", text))
    assert against == {baseline}
    p_column = [head.title for head in statistics(comparison).heads].index("p (Holm)")
    for arm, cells in statistics(comparison).rows:
        if arm != baseline:
            sentence = next(
                s for s in findings(comparison) if re.match(f"`{arm}` ended \\w+ `{baseline}`", s)
            )
            assert f"p = {cells[p_column].text}," in sentence
    console = Console(file=io.StringIO(), width=300)
    print_table(comparison.campaign, console, comparison)
    assert f"against {baseline}" in console.file.getvalue()


def test_what_could_have_been_found_is_said_where_nothing_was(make):
    base = [(0.5, 0.6)] * 8
    held = [(0.5, 0.6 + 0.01 * (-1) ** seed) for seed in range(8)]
    comparison = compare(make({"grpo": base, "held": held}))
    detectable = comparison.contrasts[1].detectable
    # eight seeds find d_z = 1.18; the standard deviation of ±0.01 is 0.01 · √(8/7)
    assert detectable == pytest.approx(1.18 * 0.01 * (8 / 7) ** 0.5, rel=0.02)
    assert (
        f"(p = 1.000; 8 seeds find {detectable:.3f} in 80 % of cases); no difference detected."
        in findings(comparison)[-1] + findings(comparison)[-2]
    )


def test_without_an_evaluation_nothing_is_said_of_it(make_campaign):
    campaign = make_campaign(seeds=(0, 1))
    text = " ".join(findings(compare(load_campaign(campaign), metric="entropy")))
    assert "greedy pass rate" not in text
    assert "entropy ended below `grpo`" not in text  # the loops keep it above
    assert "did not end below `grpo`" in text


def test_a_start_that_leaves_nothing_to_find_is_said(make):
    campaign = make({"easy": [(1.0, 1.0), (1.0, 0.9)], "fair": [(1.0, 1.0), (0.9, 1.0)]})
    said = [sentence for sentence in findings(compare(campaign)) if "to find" in sentence]
    assert said == [
        "`easy` solved every held-out problem greedily from the start, so that training had nothing to find there."
    ]


def test_a_start_without_a_right_sample_is_said_where_samples_are_many(make, tmp_path):
    arms = {"hard": (0.0, 8), "greedy": (0.1, 8), "few": (0.0, 7)}
    make({arm: [(0.0, 0.0)] for arm in arms})
    for arm, (rate, num_samples) in arms.items():
        run = CampaignFolder(tmp_path / "c").run(arm, 0)
        config = {"evaluation": {"num_problems": 8, "num_samples": num_samples}}
        run.write_info(RunInfo(campaign="c", arm=arm, seed=0, method=arm, config=config))
        with run.writer() as writer:
            for step in (20, 30):  # after those of `make`, which have no pass rate
                writer.append(step, {"eval/pass_at_1": 0.0, "eval/pass_rate": rate}, kind="eval")
    comparison = compare(load_campaign(CampaignFolder(tmp_path / "c")))
    said = [sentence for sentence in findings(comparison) if "no right sample" in sentence]
    assert said == ["`hard` had no right sample at the start, so that there was nothing to learn from."]


def test_a_loop_holds_whose_error_is_smaller_than_the_limit(make_campaign):
    summaries = {arm.name: summarise(arm) for arm in load_campaign(make_campaign(seeds=(0,))).arms}
    free = replace(
        summaries["grpo"],
        entropy_start=Estimate((0.4,)),
        entropy_final=Estimate((0.05,)),
        setpoint=Estimate(()),
    )
    held = replace(free, arm="held", setpoint=Estimate((0.2,)), hold_error=Estimate((HOLD * 0.999,)))
    assert any("held" in sentence for sentence in entropy_title([free, held]))
    assert entropy_title([free, replace(held, hold_error=Estimate((HOLD,)))]) == []
