"""Exported records are read back as they were, and only for the campaign that made them."""

import json
import shutil
import zlib
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import yaml
from pyarrow import parquet
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.comparison.comparison import compare
from orchestrator.comparison.export import export
from orchestrator.comparison.records_file import METADATA, added_to, campaigns_recorded, read_records
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError
from orchestrator.provenance import versions
from orchestrator.storage.guardrail_files import Event, Rollback
from orchestrator.storage.run_data import CampaignRecords, group_by_arm, load_campaign

NOW = versions()["entrostat"]


@pytest.fixture
def campaign(make_campaign):
    loaded = load_campaign(make_campaign(seeds=(0, 1), arms=("grpo", "entropic")))
    noted = {
        "events": (Event(iteration=3, detector="collapse", reason="it fell"),),
        "rollbacks": (
            Rollback(iteration=9, to=4, detector="collapse", reason="it fell", limits={"a": (0.0, 1.0)}),
        ),
    }
    return replace(loaded, arms=group_by_arm([replace(run, **noted) for run in loaded.runs]))


def test_what_was_exported_is_read_back(campaign, tmp_path):
    export(campaign, tmp_path / "x.parquet")
    found = read_records(tmp_path / "x.parquet")
    assert found.info == replace(campaign.info, source="quickstart.yaml")
    assert [arm.name for arm in found.arms] == ["grpo", "entropic"]
    for run, other in zip(campaign.runs, found.runs, strict=True):
        assert (other.info, other.status, other.seconds) == (run.info, run.status, run.seconds)
        assert other.events == run.events
        assert other.rollbacks[0].reason == "it fell"
        assert list(other.rollbacks[0].limits["a"]) == [0.0, 1.0]
        for series, again in ((run.train, other.train), (run.evaluation, other.evaluation)):
            assert np.array_equal(again.steps, series.steps)
            assert again.values.keys() == series.values.keys()
            for name, values in series.values.items():
                assert np.array_equal(again.values[name], values, equal_nan=True)


def test_a_comparison_of_what_was_read_back_has_the_same_numbers(campaign, tmp_path):
    export(campaign, tmp_path / "x.parquet")
    found = compare(read_records(tmp_path / "x.parquet"))
    assert repr(found.contrasts) == repr(compare(campaign).contrasts)


def test_the_file_names_no_folder_and_no_process(make_campaign, tmp_path):
    campaign = load_campaign(make_campaign(source=str(tmp_path / "private" / "quickstart.yaml")))
    export(campaign, tmp_path / "x.parquet")
    found = read_records(tmp_path / "x.parquet")
    assert str(tmp_path) not in repr(found)
    assert {run.status.pid for run in found.runs} == {None}


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "no such file; write it by `entrostat export CAMPAIGN --output"),
        (lambda path: path.write_text("nothing"), "not a Parquet file that can be read"),
        (
            lambda path: parquet.write_table(pa.table({"value": [1.0]}), path),
            "holds no runs to read back; export it again, to .parquet and without --wide",
        ),
    ],
)
def test_a_file_that_holds_no_runs_is_refused(tmp_path, write, message):
    path = tmp_path / "x.parquet"
    write(path)
    with pytest.raises(ConfigError, match=f"{path}: .*{message}"):
        read_records(path)


def test_a_file_of_another_form_is_one_error(campaign, tmp_path):
    """As one of a later version is, whose runs have more to say."""
    path = tmp_path / "x.parquet"
    export(campaign, path)
    table = parquet.read_table(path)
    content = json.loads(zlib.decompress(table.schema.metadata[METADATA]))
    content["runs"][0]["info"]["a later field"] = 1
    for metadata in (zlib.compress(json.dumps(content).encode()), b"damaged"):
        parquet.write_table(table.replace_schema_metadata({METADATA: metadata}), path)
        with pytest.raises(ConfigError, match=f"{path}: cannot be read by Entrostat .*; export it again"):
            read_records(path)


# Further runs are added -----------------------------------------------------------------------------------


def test_seeds_and_arms_are_added_to_an_earlier_export(make_campaign, tmp_path):
    file = tmp_path / "x.parquet"
    whole = load_campaign(make_campaign(seeds=(0, 1, 2), arms=("grpo", "entropic")))

    def part(seeds, runs):
        info = replace(whole.info, config=whole.info.config | {"seeds": seeds})
        chosen = [run for run in whole.runs if (run.info.arm, run.info.seed) in runs]
        return CampaignRecords(info=info, arms=group_by_arm(chosen))

    export(part([0, 1], [("grpo", 0), ("grpo", 1)]), file)
    repeated = part([1, 2], [("grpo", 1), ("grpo", 2), ("entropic", 1)])
    longer = [replace(run, seconds=77.0) for run in repeated.runs]
    export(added_to(read_records(file), replace(repeated, arms=group_by_arm(longer)), file), file)
    found = read_records(file)
    assert [(run.info.arm, run.info.seed, run.seconds == 77.0) for run in found.runs] == [
        ("grpo", 0, False), ("grpo", 1, True), ("grpo", 2, True), ("entropic", 1, True),
    ]  # fmt: skip
    assert found.info.config["seeds"] == [0, 1, 2]


def test_an_unfinished_run_replaces_no_finished_one(campaign, tmp_path):
    file = tmp_path / "x.parquet"
    export(campaign, file)
    broken = [replace(run, status=replace(run.status, status="interrupted")) for run in campaign.runs]
    found = added_to(read_records(file), replace(campaign, arms=group_by_arm(broken)), file)
    assert {run.status.status for run in found.runs} == {"done"}
    again = added_to(replace(campaign, arms=group_by_arm(broken)), campaign, file)
    assert {run.status.status for run in again.runs} == {"done"}


def test_an_arm_of_other_settings_is_not_added(recorded, tmp_path):
    recorded()
    stored = read_records(tmp_path / "results" / "small.parquet")

    def trained_at(rate):
        config = stored.runs[0].info.config
        return config | {"learner": config["learner"] | {"learning_rate": rate}}

    other = [replace(run, info=replace(run.info, config=trained_at(0.05))) for run in stored.runs[:1]]
    with pytest.raises(
        ConfigError, match=r"the arm 'grpo' has other settings there: learner.learning_rate: stored"
    ):
        added_to(stored, replace(stored, arms=group_by_arm(other)), tmp_path / "results" / "small.parquet")


def test_the_command_adds_to_a_file(make_campaign, tmp_path):
    make_campaign(seeds=(0, 1), arms=("grpo",))
    file = str(tmp_path / "x.parquet")
    command = ["export", "quickstart", "--folder", str(tmp_path / "runs"), "--output", file]
    assert CliRunner().invoke(app, command).exit_code == 0
    shutil.rmtree(tmp_path / "runs")
    make_campaign(seeds=(2,), arms=("grpo",))
    done = CliRunner().invoke(app, [*command, "--with", file])
    assert "of 3 runs" in done.output
    assert [run.info.seed for run in read_records(file).runs] == [0, 1, 2]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"name": "another"},
            "holds runs of the campaign another, these are of quickstart; leave --with out",
        ),
        ({"versions": {"entrostat": "0.0.1"}}, f"holds runs of the version 0.0.1, these are of {NOW}"),
    ],
)
def test_runs_of_something_else_are_not_added(campaign, tmp_path, changed, message):
    file = tmp_path / "x.parquet"
    known = replace(campaign, info=replace(campaign.info, versions={"entrostat": NOW}))
    export(replace(known, info=replace(known.info, **changed)), file)
    with pytest.raises(ConfigError, match=f"--with {file}: {message}"):
        added_to(read_records(file), known, file)


# Records of a campaign ------------------------------------------------------------------------------------


@pytest.fixture
def recorded(make_campaign, tmp_path):
    """`recorded(name, …)` writes a campaign file and the records of its runs; gives the file."""
    (tmp_path / "campaigns").mkdir()
    (tmp_path / "results").mkdir()

    def make(name="small", *, version=NOW, done=("grpo", "entropic"), **changed):
        path = tmp_path / "campaigns" / f"{name}.yaml"
        content = {
            "name": name,
            "seeds": [0, 1],
            "task": {"kind": "arithmetic", "num_digits": 1},
            "learner": {"iterations": 150},
            "arms": [{"name": "grpo", "method": "grpo"}, {"name": "entropic", "method": "entropic"}],
        }
        path.write_text(yaml.safe_dump(content))
        of = {arm.name: arm for arm in read_campaign(path).arms}
        loaded = load_campaign(make_campaign(seeds=(0, 1), arms=done, name=name))
        runs = [replace(run, info=replace(run.info, config=of[run.info.arm].plain)) for run in loaded.runs]
        info = replace(loaded.info, versions={"entrostat": version})
        export(CampaignRecords(info=info, arms=group_by_arm(runs)), tmp_path / "results" / f"{name}.parquet")
        if changed:
            path.write_text(yaml.safe_dump(content | changed))
        return path

    return make


def test_records_of_a_folder_of_campaigns(recorded, tmp_path):
    recorded("second")
    recorded("first")
    found = campaigns_recorded([str(tmp_path / "campaigns")], tmp_path / "results")
    assert [each.info.name for each in found] == ["first", "second"]
    assert [run.name for run in found[0].runs] == [
        "grpo seed 0", "grpo seed 1", "entropic seed 0", "entropic seed 1",
    ]  # fmt: skip


def test_only_what_the_campaign_names_is_taken(recorded, tmp_path):
    path = recorded(seeds=[1], arms=[{"name": "entropic", "method": "entropic"}])
    (found,) = campaigns_recorded([str(path)], tmp_path / "results")
    assert [run.name for run in found.runs] == ["entropic seed 1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"learner": {"iterations": 150, "learning_rate": 0.5}},
            "grpo: learner.learning_rate: stored .*, now 0.5",
        ),
        ({"seeds": [0, 7]}, "grpo seed 7 is missing; entropic seed 7 is missing"),
        ({"done": ("grpo",)}, "entropic seed 0 is missing"),
        ({"version": "0.0.1"}, "its runs are of Entrostat 0.0.1, this is"),
    ],
)
def test_records_of_something_else_are_refused_with_what_differs(recorded, tmp_path, change, message):
    path = recorded(**change)
    with pytest.raises(ConfigError, match=message):
        campaigns_recorded([str(path)], tmp_path / "results")


def test_records_of_another_campaign_are_refused(recorded, tmp_path):
    recorded("first")
    second = recorded("second")
    (tmp_path / "results" / "first.parquet").replace(tmp_path / "results" / "second.parquet")
    with pytest.raises(ConfigError, match="holds the campaign 'first', not 'second'"):
        campaigns_recorded([str(second)], tmp_path / "results")


def test_a_folder_without_campaigns_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no campaign file \(.yaml\)"):
        campaigns_recorded([str(tmp_path)], tmp_path)
    with pytest.raises(ConfigError, match="with --from, name campaign files"):
        campaigns_recorded([], tmp_path)


def test_the_command_prints_a_table_of_one_and_a_map_of_several(recorded, tmp_path):
    def printed(*names):
        done = CliRunner().invoke(app, ["compare", *names, "--from", str(tmp_path / "results")])
        assert done.exit_code == 0, done.output
        return done.output

    first, second = recorded("first"), recorded("second")
    one = printed(str(first))
    assert "Campaign first" in one
    assert "report" not in one  # nothing is written that was not asked for
    several = printed(str(first), str(second))
    assert "eval/pass_rate" not in several  # which nothing was evaluated by
    assert "eval/pass_at_1, gain over grpo" in several
    assert "eval/pass_at_8, gain over grpo" in several
    assert "worst" in several


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metric", "nonsense"], "no run has the metric 'nonsense'"),
        (["--page", "x.html"], "--page: does not go with --from with several campaigns; leave it out"),
        (["--uri", "sqlite:///x.db"], "--uri: does not go with --from; leave it out"),
        (
            ["--format", "csv"],
            "--format csv holds one table, of eval/pass_at_1, eval/pass_at_8 each; give --metric",
        ),
    ],
)
def test_what_would_not_be_read_is_refused(recorded, tmp_path, options, message):
    names = [str(recorded("first")), str(recorded("second"))]
    done = CliRunner().invoke(app, ["compare", *names, "--from", str(tmp_path / "results"), *options])
    assert done.exit_code != 0
    assert message in " ".join(done.output.split())


def test_a_map_of_a_metric_by_either_of_its_names(recorded, tmp_path):
    names = [str(recorded("first")), str(recorded("second"))]
    where = ["--from", str(tmp_path / "results"), "--format", "csv", "--metric"]
    done = [
        CliRunner().invoke(app, ["compare", *names, *where, name]) for name in ("entropy/mean", "entropy")
    ]
    assert done[0].output == done[1].output
    assert done[0].output.startswith("arm,first,first low,first high,second")
