"""One table of many runs: every number, once, and a file that is whole or not there."""

import csv
import math

import pytest
from pyarrow import parquet

from orchestrator.comparison.export import check_output, chosen_names, export
from orchestrator.errors import ConfigError
from orchestrator.storage.run_data import load_campaign


@pytest.fixture
def campaign(make_campaign):
    return load_campaign(make_campaign(seeds=(0, 1), arms=("grpo", "entropic")))


def expected(campaign, kept=lambda name: True):
    return {
        (run.info.arm, run.info.seed, kind, int(step), name): value
        for run in campaign.runs
        for kind, series in (("train", run.train), ("eval", run.evaluation))
        for name, column in series.values.items()
        for step, value in zip(series.steps, column)
        if math.isfinite(value) and kept(name)
    }


def test_long_has_every_number_once(campaign, tmp_path):
    num_rows = export(campaign, tmp_path / "x.parquet")
    rows = parquet.read_table(tmp_path / "x.parquet").to_pylist()
    assert num_rows == len(rows)
    found = {(r["arm"], r["seed"], r["kind"], r["step"], r["metric"]): r["value"] for r in rows}
    assert len(found) == len(rows)
    assert found == expected(campaign)
    assert {(r["campaign"], r["method"]) for r in rows} == {
        ("quickstart", "grpo"),
        ("quickstart", "entropic"),
    }


def test_csv_reads_back_to_the_same_numbers(campaign, tmp_path):
    export(campaign, tmp_path / "x.csv", metrics=["loop/*/u", "entropy"])
    with (tmp_path / "x.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = {
        (r["arm"], int(r["seed"]), r["kind"], int(r["step"]), r["metric"]): float(r["value"]) for r in rows
    }
    assert found == expected(campaign, lambda name: name in ("loop/entropy/u", "entropy"))


def test_wide_has_a_row_a_record_and_gaps_where_nothing_was_measured(campaign, tmp_path):
    num_rows = export(campaign, tmp_path / "x.parquet", wide=True, metrics=["entropy", "eval/*"])
    rows = parquet.read_table(tmp_path / "x.parquet").to_pylist()
    assert num_rows == len(rows) == 4 * (150 + 7)
    one = next(r for r in rows if (r["arm"], r["seed"], r["kind"], r["step"]) == ("grpo", 1, "train", 9))
    run = campaign.arms[0].runs[1]
    assert one["entropy"] == run.train.values["entropy"][9]
    assert one["eval/pass_at_1"] is None


def test_a_pattern_of_a_family_has_the_metrics_of_one_word_too(campaign):
    names = chosen_names(campaign, ["entropy/*"])
    assert "entropy" in names
    assert [name for name in names if name.startswith("entropy/")]
    assert "reward" in chosen_names(campaign, ["rollout/*"])
    assert chosen_names(campaign, ["rollout/reward", "entropy"]) == ["entropy", "reward"]


def test_a_pattern_that_matches_nothing_leaves_no_file(campaign, tmp_path):
    with pytest.raises(ConfigError, match="no run has the metric 'entropi'; did you mean 'entropy'"):
        export(campaign, tmp_path / "x.csv", metrics=["entropy", "entropi"])
    assert list(tmp_path.glob("*.csv")) == []


@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_a_failure_half_way_leaves_the_old_file(campaign, tmp_path, monkeypatch, name):
    (tmp_path / name).write_text("old")
    monkeypatch.setattr("orchestrator.comparison.export._long", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(campaign, tmp_path / name)
    assert (tmp_path / name).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if "x." in path.name] == [name]


@pytest.mark.parametrize(
    ("name", "message"),
    [("x.json", "use one of .parquet, .csv"), ("no/x.csv", "there is no folder"), ("d.csv", "is a folder")],
)
def test_a_file_that_cannot_be_written_is_said_before_anything_is_read(tmp_path, name, message):
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(ConfigError, match=message):
        check_output(tmp_path / name)
