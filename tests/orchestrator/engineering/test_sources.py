"""Records are found where they are, and an arm that cannot be meant is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orchestrator.configuration.loops import LoopConfig
from orchestrator.engineering.sources import choose, find_runs, first_change, signals, tracking_of
from orchestrator.errors import ConfigError
from orchestrator.storage.columns import to_series
from orchestrator.storage.run_folder import CampaignFolder, CampaignInfo
from orchestrator.tracking.store import default_uri, open_client
from orchestrator.tracking.tracker import Tracker
from tests.orchestrator.engineering.conftest import loop_content

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # mlflow and sqlalchemy, in their own code
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
]

UNREACHABLE = "http://127.0.0.1:9"


def found(campaign):
    return find_runs(campaign.path.name, folder=campaign.path.parent, uri=None)


def test_runs_come_from_mlflow_by_campaign_and_by_id(make_simulated, mlflow_uri):
    campaign = make_simulated({"easy": loop_content()}, seeds=(0, 1), num_iterations=30)
    assert Tracker(campaign, mlflow_uri, artifacts=False).finish() == []
    source = find_runs("simulated", folder=campaign.path.parent, uri=mlflow_uri)
    stored = found(campaign)
    for mine, theirs in zip(source.runs, stored.runs, strict=True):
        assert mine.info.config == theirs.info.config
        assert np.array_equal(mine.train.get("loop/entropy/u"), theirs.train.get("loop/entropy/u"))
    client = open_client(mlflow_uri)
    experiment = client.get_experiment_by_name("simulated").experiment_id
    ids = {run.info.run_name: run.info.run_id for run in client.search_runs([experiment])}
    elsewhere = campaign.path.parent / "elsewhere"
    (one,) = find_runs(ids["easy seed-1"], folder=elsewhere, uri=mlflow_uri).runs
    assert one.name == "easy seed 1"


def test_the_folder_is_read_first_and_a_tracking_uri_alone(make_simulated):
    campaign = make_simulated({"easy": loop_content()}, seeds=(0,), num_iterations=20)
    assert [run.name for run in found(campaign).runs] == ["easy seed 0"]
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:9 does not answer"):
        find_runs("simulated", folder=campaign.path.parent, uri=UNREACHABLE)


def test_without_either_the_campaign_is_unknown(tmp_path):
    with pytest.raises(ConfigError, match="no campaign 'x' in"):
        find_runs("x", folder=tmp_path, uri=None)


def test_a_campaign_in_the_folder_knows_its_uri(make_simulated):
    from dataclasses import replace

    campaign = make_simulated({"easy": loop_content()}, seeds=(0,), num_iterations=5)
    folder = campaign.path.parent
    assert tracking_of(folder, "unknown", None) == f"sqlite:///{folder}/mlflow.db"
    assert tracking_of(folder, "simulated", None) == UNREACHABLE
    assert tracking_of(folder / "elsewhere", str(campaign.path), None) == UNREACHABLE  # by its path
    assert tracking_of(folder, "simulated", "sqlite:////x.db") == "sqlite:////x.db"
    info = campaign.read_info()
    campaign.write_info(replace(info, config={**info.config, "tracking": {"uri": "http://host:5000"}}))
    assert tracking_of(folder, "simulated", None) == "http://host:5000"


def test_the_one_arm_with_a_dither_is_meant(make_simulated):
    arms = {"free": None, "quiet": loop_content(dither=False), "moved": loop_content()}
    chosen = choose(found(make_simulated(arms, seeds=(0, 1), num_iterations=10)))
    assert (chosen.arm, chosen.loop, len(chosen.runs)) == ("moved", "entropy", 2)
    assert chosen.learner["learning_rate"] == 3e-4


def test_several_arms_with_dither_are_named(make_simulated):
    source = found(make_simulated({"b": loop_content(), "a": loop_content()}, seeds=(0,), num_iterations=5))
    with pytest.raises(ConfigError, match="several arms have a dither; choose one with --arm: b, a"):
        choose(source)
    assert choose(source, arm="a").arm == "a"


@pytest.mark.parametrize(
    ("arms", "wanted", "message"),
    [
        ({"quiet": loop_content(dither=False)}, {}, "no arm has a dither.*add `dither: {kind: prbs"),
        ({"free": None}, {"arm": "free"}, "arm 'free' has no loop, so nothing moved a command"),
        ({"moved": loop_content()}, {"arm": "moevd"}, "no arm 'moevd'; did you mean 'moved'"),
        ({"moved": loop_content()}, {"loop": "entorpy"}, "no loop 'entorpy'; did you mean 'entropy'"),
    ],
)
def test_what_cannot_be_meant_is_refused(make_simulated, arms, wanted, message):
    with pytest.raises(ConfigError, match=message):
        choose(found(make_simulated(arms, seeds=(0,), num_iterations=5)), **wanted)


def test_an_arm_without_dither_is_taken_when_it_is_named(make_simulated):
    source = found(make_simulated({"quiet": loop_content(dither=False)}, seeds=(0,), num_iterations=5))
    assert choose(source, arm="quiet").config.dither is None


def test_unfinished_runs_are_left_out_and_counted(make_simulated):
    campaign = make_simulated({"moved": loop_content()}, seeds=(0, 1), num_iterations=5)
    run = campaign.run("moved", 1)
    from dataclasses import replace

    run.write_status(replace(run.read_status(), status="failed"))
    chosen = choose(found(campaign))
    assert [run.info.seed for run in chosen.runs] == [0]
    assert chosen.notes == ("1 runs of 'moved' are not finished and were left out",)


def test_signals_are_what_the_loop_saw_and_gave(make_simulated):
    campaign = make_simulated({"moved": loop_content()}, seeds=(0,), num_iterations=40)
    chosen = choose(found(campaign))
    run = chosen.runs[0]
    seen = signals(run, "entropy", chosen.config)
    assert seen.name == "moved seed 0"
    assert np.array_equal(seen.iterations, np.arange(40))
    assert np.array_equal(seen.y, run.train.get("entropy"))
    assert np.array_equal(seen.u, run.train.get("loop/entropy/u"))
    assert seen.dither.tolist() == [chosen.config.dither.value(t) for t in range(40)]


def test_a_filtered_loop_gives_the_raw_reading(make_simulated):
    content = loop_content(filter={"kind": "ema", "decay": 0.8})
    campaign = make_simulated({"moved": content}, seeds=(0,), num_iterations=10)
    run = campaign.run("moved", 0)
    records = run.records()
    run.metrics_path.unlink()
    with run.writer() as writer:
        for record in records:
            writer.append(record.step, {**record.metrics, "entropy": 0.5 + 0.01 * record.step})
    chosen = choose(found(campaign))
    assert signals(chosen.runs[0], "entropy", chosen.config).y == pytest.approx(0.5 + 0.01 * np.arange(10))


def test_between_control_instants_command_and_dither_stay(make_simulated):
    content = loop_content(period=3)
    campaign = make_simulated({"moved": content}, seeds=(0,), num_iterations=12)
    chosen = choose(found(campaign))
    dither = signals(chosen.runs[0], "entropy", chosen.config).dither
    known = [LoopConfig(**content).dither.value(t - t % 3) for t in range(12)]
    assert dither.tolist() == known


def test_missing_iterations_are_gaps(make_simulated):
    """As of a run that a tracker has not all of; a gap in a run's own log is damage."""
    campaign = make_simulated({"moved": loop_content()}, seeds=(0,), num_iterations=10)
    chosen = choose(found(campaign))
    records = [record for record in campaign.run("moved", 0).records() if record.step not in (0, 4)]
    run = replace(chosen.runs[0], train=to_series(records, "train"))
    seen = signals(run, "entropy", chosen.config)
    assert seen.iterations.tolist() == list(range(1, 10))
    assert np.flatnonzero(np.isnan(seen.y)).tolist() == [3]


def test_a_phase_makes_another_plant():
    assert first_change({}) is None
    assert first_change({"phases": [{"start": 0}, {"start": 75}, {"start": 40}]}) == 40


def test_what_is_made_of_a_campaign_named_by_its_path_is_tracked_beside_it(tmp_path):
    campaign = CampaignFolder(tmp_path / "elsewhere" / "moved")
    campaign.write_info(CampaignInfo(name="moved"))
    beside = default_uri(tmp_path / "elsewhere")
    assert tracking_of(tmp_path / "runs", str(campaign.path), None) == beside


def test_a_design_is_tracked_beside_the_runs_of_its_plant(tmp_path):
    home = default_uri(tmp_path)
    assert tracking_of(tmp_path, "gone", None, "https://m.example") == "https://m.example"
    assert tracking_of(tmp_path, "gone", "https://asked.example", "https://m.example").startswith(
        "https://asked"
    )
    for unusable in (default_uri(tmp_path / "no such folder"), "https://u:***@m.example", None):
        assert tracking_of(tmp_path, "gone", None, unusable) == home
