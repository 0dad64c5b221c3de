"""Gains over the baseline in every regime, from hand-made runs."""

import math

import numpy as np
import pytest

from orchestrator.comparison.regimes import regime_map
from orchestrator.errors import ConfigError
from orchestrator.report.regime_table import regime_table
from orchestrator.storage.run_data import CampaignRecords, RunRecords, Series, group_by_arm
from orchestrator.storage.run_folder import CampaignInfo, RunInfo, Status


def regime(name, **arms):
    """A campaign whose arms end at the given held-out pass rates, one for each seed, after a start at 0.25."""
    runs = [
        RunRecords(
            info=RunInfo(campaign=name, arm=arm, seed=seed, method=arm),
            status=Status(status="done"),
            train=Series(steps=np.arange(2), values={"entropy": np.array([1.0, 0.5])}),
            evaluation=Series(steps=np.array([0, 2]), values={"eval/pass_at_1": np.array([0.25, end])}),
            seconds=1.0,
        )
        for arm, ends in arms.items()
        for seed, end in enumerate(ends)
    ]
    return CampaignRecords(info=CampaignInfo(name=name), arms=group_by_arm(runs))


TRAP = regime("trap", grpo=[0.3, 0.4, 0.5], auto=[0.5, 0.7, 0.9], aer=[0.2, 0.3, 0.4])
PLAIN = regime("plain", grpo=[0.9, 0.9, 0.9], auto=[0.8, 0.9, 0.7])


def test_gains_are_paired_differences_from_the_baseline_of_the_same_regime():
    found = regime_map([TRAP, PLAIN], "eval/pass_at_1")
    assert found.baseline == "grpo"
    assert found.arms == ("auto", "aer")
    assert found.contrasts["auto", "trap"].difference == pytest.approx(0.3)
    assert found.contrasts["auto", "plain"].difference == pytest.approx(-0.1)
    assert found.mean("auto") == pytest.approx(0.1)
    assert found.worst("auto") == pytest.approx(-0.1)


def test_an_arm_that_a_regime_lacks_has_no_mean():
    found = regime_map([TRAP, PLAIN], "eval/pass_at_1")
    assert math.isnan(found.mean("aer"))
    assert found.worst("aer") == pytest.approx(-0.1)


def test_every_regime_needs_the_baseline():
    with pytest.raises(ConfigError, match="no arm 'aer' to compare with"):
        regime_map([TRAP, PLAIN], "eval/pass_at_1", baseline="aer")


def test_the_table_has_a_row_an_arm_and_a_column_a_regime():
    table = regime_table(regime_map([TRAP, PLAIN], "eval/pass_at_1"))
    assert [head.title for head in table.heads] == ["trap", "plain", "mean", "worst"]
    (auto, aer) = table.rows
    assert auto[0] == "auto"
    assert [round(cell.value, 6) for cell in auto[1]] == [0.3, -0.1, 0.1, -0.1]
    # Student's t of 0.2, 0.3, 0.4: 0.3 ± 4.303 · 0.1 / √3
    assert auto[1][0].text == "+0.300 [0.052, 0.548]"
    assert [cell.text for cell in aer[1]] == ["−0.100 [−0.100, −0.100]", "–", "–", "−0.100"]
    assert table.note == "grpo at its start and at its end: trap 0.250 to 0.400, plain 0.250 to 0.900."
