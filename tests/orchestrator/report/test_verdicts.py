"""The title says who lost or gained, greedy and sampled, by the rows of the tables; so does the table below it."""

import re

import pytest

from orchestrator.comparison.bootstrap import Interval
from orchestrator.comparison.comparison import compare
from orchestrator.report.headline import headline
from orchestrator.report.outcome_table import outcome
from orchestrator.report.verdicts import measures, verdicts
from orchestrator.storage.run_data import load_campaign
from orchestrator.storage.run_folder import CampaignFolder, CampaignInfo, RunInfo, Status


@pytest.fixture
def make(tmp_path):
    """`make({"arm": [((greedy, sampled) at the start, the same at the end), ...]})`: an entry a seed."""

    def of(arms, sampled=True, name="c"):
        folder = CampaignFolder(tmp_path / name)
        folder.write_info(CampaignInfo(name="c", config={"arms": [{"name": arm} for arm in arms]}))
        for arm, seeds in arms.items():
            for seed, pair in enumerate(seeds):
                run = folder.run(arm, seed)
                run.write_info(RunInfo(campaign="c", arm=arm, seed=seed, method=arm))
                with run.writer() as writer:
                    for step, (greedy, drawn) in zip((0, 10), pair, strict=True):
                        metrics = {"eval/pass_at_1": greedy} | ({"eval/pass_rate": drawn} if sampled else {})
                        writer.append(step, metrics, kind="eval")
                run.write_status(Status(status="done", iteration=10, num_iterations=10))
        return compare(load_campaign(folder))

    return of


def seeds(greedy, sampled, num=8):
    """Seeds that begin at 0.5 and differ a little at the end."""
    return [((0.5, 0.5), (greedy + 0.002 * seed, sampled - 0.002 * seed)) for seed in range(num)]


GRPO = [((0.5, 0.5), (0.6, 0.6))] * 8
NUMBER = r"[+−]0\.\d{3} \[[−\d.]+, [−\d.]+\]"


def test_a_loss_is_the_title_though_another_arm_gained_more(make):
    comparison = make({"grpo": GRPO, "good": seeds(0.9, 0.9), "bad": seeds(0.55, 0.65)})
    # the mean of 0.002 · seed is 0.007: greedy 0.557 and sampled 0.643 against 0.6
    first, second = verdicts(comparison)
    assert re.fullmatch(rf"`bad` lost against `grpo`: greedy {NUMBER}, sampled {NUMBER}\.", first)
    assert "greedy −0.043 [" in first
    assert "sampled +0.043 [" in first
    assert re.fullmatch(rf"Against its own start `bad` ended at greedy {NUMBER}, sampled {NUMBER}\.", second)
    assert "greedy +0.057 [" in second
    assert headline(comparison)[0] == first


def test_a_loss_of_sampled_alone_is_a_loss(make):
    first, second = verdicts(make({"grpo": GRPO, "collapsed": seeds(0.7, 0.3)}))
    assert first.startswith("`collapsed` lost against `grpo`: greedy +0.107 [")
    assert "sampled −0.307 [" in first
    assert second.startswith("Against its own start `collapsed`")


def test_a_loss_against_the_start_is_said_with_the_baseline_below(make):
    arms = {"grpo": GRPO, "less": seeds(0.3, 0.4)}
    first, second = verdicts(make(arms))
    assert first.startswith(
        "`less` lost against `grpo`: greedy −0.293 ["
    )  # 0.307 below 0.6, and 0.193 below 0.5
    assert second.startswith("Against its own start `less` ended at greedy −0.193 [")
    first, *rest = verdicts(make({"grpo": [((0.5, 0.5), (0.1, 0.1))] * 8}, name="alone"))
    assert first.startswith("`grpo` lost against its own start: greedy −0.400 [−0.400, −0.400]")
    assert rest == []


def test_a_gain_is_the_title_in_the_same_words(make):
    first, second = verdicts(make({"grpo": GRPO, "good": seeds(0.8, 0.9), "best": seeds(0.9, 0.8)}))
    assert re.fullmatch(rf"`best` gained against `grpo`: greedy {NUMBER}, sampled {NUMBER}\.", first)
    assert second.startswith("Against its own start `best` ended at greedy +0.407 [")


def test_few_seeds_claim_nothing_and_say_all_numbers(make):
    arms = {"grpo": GRPO[:1], "up": seeds(0.7, 0.7, 1), "down": seeds(0.5, 0.7, 1)}
    first, second = verdicts(make(arms))
    assert first == (
        "Against `grpo`: `up` greedy +0.100, sampled +0.100; `down` greedy −0.100, sampled +0.100. "
        "One seed cannot rule out chance."
    )
    assert second.startswith("Against their own starts: `grpo` greedy +0.100, sampled +0.100; `up`")
    first, _ = verdicts(make({arm: own * 3 for arm, own in arms.items()}, name="three"))
    assert first.startswith("Against `grpo`: `up` greedy +0.100 [")
    assert first.endswith("]. 3 seeds cannot rule out chance.")


def test_seeds_that_could_have_found_something_say_that_they_did_not(make):
    same = [((0.5, 0.5), (0.6 + 0.01 * (-1) ** seed, 0.6)) for seed in range(8)]
    first, _ = verdicts(make({"grpo": GRPO, "same": same}))
    assert first.startswith("Against `grpo`: `same` greedy ")
    assert first.endswith("]. No arm lost or gained beyond chance in 8 seeds.")


def test_many_arms_are_a_range(make):
    arms = {f"arm{index}": seeds(0.6 + index / 100, 0.6, 1) for index in range(4)}
    first, _ = verdicts(make({"grpo": GRPO[:1]} | arms))
    assert first == (
        "Against `grpo`: greedy +0.000 to +0.030, sampled +0.000 to +0.000, over 4 arms. "
        "One seed cannot rule out chance."
    )


def test_without_samples_there_is_greedy_alone_and_without_evaluations_nothing(make, make_campaign):
    comparison = make({"grpo": GRPO, "good": seeds(0.8, 0.9)}, sampled=False)
    assert [each.name for each in measures(comparison)] == ["greedy"]
    assert "sampled" not in " ".join(verdicts(comparison))
    other = compare(load_campaign(make_campaign(seeds=(0, 1))), metric="reward")
    assert [each.name for each in measures(other)] == ["reward"]
    assert "greedy" not in " ".join(verdicts(other))


def test_the_table_has_start_end_change_and_difference_of_both_measures(make):
    comparison = make({"grpo": GRPO, "good": seeds(0.8, 0.9)})
    table = outcome(comparison)
    titles = [head.title for head in table.heads]
    cells = dict(zip(titles, dict(table.rows)["good"], strict=True))
    assert titles[:4] == ["greedy at the start", "greedy", "greedy change", "greedy against grpo"]
    assert titles[4:8] == ["sampled at the start", "sampled", "sampled change", "sampled against grpo"]
    assert cells["greedy at the start"].value == pytest.approx(0.5)
    assert cells["greedy"].value == pytest.approx(0.807)
    assert cells["sampled change"].value == pytest.approx(0.393)
    assert cells["sampled against grpo"].value == pytest.approx(0.293)
    assert cells["greedy change"].low < 0.307 < cells["greedy change"].high
    assert dict(table.rows)["grpo"][3].text == "–"  # no arm is compared with itself


def test_the_change_of_entropy_is_that_of_each_seed(make_campaign):
    comparison = compare(load_campaign(make_campaign(seeds=(0, 1, 2))))
    table = outcome(comparison)
    titles = [head.title for head in table.heads]
    for (_, row), each in zip(table.rows, comparison.summaries, strict=True):
        cells = dict(zip(titles, row, strict=True))
        expected = each.entropy_final.mean - each.entropy_start.mean
        assert cells["entropy change"].value == pytest.approx(expected)
        assert cells["entropy change"].low < expected < cells["entropy change"].high
    assert Interval().low != Interval().low
