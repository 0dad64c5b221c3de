"""What names stand for: campaigns in the folder, MLflow runs, several at once."""

from dataclasses import replace

import pytest

from orchestrator.comparison.comparison import compare
from orchestrator.comparison.sources import gather
from orchestrator.errors import ConfigError
from orchestrator.storage.run_data import load_campaign
from orchestrator.storage.run_folder import Status
from orchestrator.tracking.named_runs import merge
from orchestrator.tracking.store import open_client
from orchestrator.tracking.tracker import Tracker

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # mlflow and sqlalchemy, in their own code
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
]


def names(campaign):
    return [arm.name for arm in campaign.arms]


def test_one_campaign_is_itself(make_campaign):
    folder = make_campaign(seeds=(0,))
    found = gather(["quickstart"], folder=folder.path.parent)
    assert found.info == folder.read_info()
    assert names(found) == ["grpo", "entropic", "aer"]
    assert (
        gather([str(folder.path)], folder=folder.path / "elsewhere").info == found.info
    )  # a path, as a shell gives


def test_arms_of_one_name_are_told_apart_and_others_are_not(make_campaign):
    folder = make_campaign(seeds=(0, 1), arms=("grpo", "entropic"), name="one").path.parent
    make_campaign(seeds=(0,), arms=("grpo", "aer"), name="two")
    found = gather(["one", "two"], folder=folder)
    assert names(found) == ["one/grpo", "entropic", "two/grpo", "aer"]
    assert found.arms[0].runs[0].name == "one/grpo seed 0"
    assert found.info.name == "one, two"
    rows = {row.arm: row for row in compare(found, baseline="one/grpo").contrasts}
    assert rows["two/grpo"].num_pairs == 1


def test_a_title_of_several_names_has_at_most_80_characters(make_campaign):
    folder = make_campaign(seeds=(0,), arms=("grpo",), name="a" * 39).path.parent
    for name, title in (("b" * 39, f"{'a' * 39}, {'b' * 39}"), ("c" * 40, f"{'a' * 39}, {'c' * 38}…")):
        make_campaign(seeds=(0,), arms=("grpo",), name=name)
        found = gather(["a" * 39, name], folder=folder).info.name
        assert (found, len(found)) == (title, 80)


def test_a_campaign_named_twice_counts_once(make_campaign):
    folder = make_campaign(seeds=(0, 1), arms=("grpo",)).path.parent
    found = gather(["quickstart", "quickstart"], folder=folder)
    assert len(found.runs) == 2


def test_two_different_runs_of_one_name_are_refused(make_run):
    with pytest.raises(ConfigError, match="two different runs are called c/a seed 0; rename"):
        merge([make_run(), make_run(fingerprint="other")])
    assert len(merge([make_run(), replace(make_run(), seconds=2.0)])) == 1


@pytest.mark.parametrize(
    ("states", "kept"),
    [
        (["failed", "done"], 1),
        (["done", "failed"], 0),
        (["stopped", "running", "failed"], 0),
        (["failed", "interrupted", "running"], 2),  # the latest of those that did not get there
        (["done", "stopped", "done"], 2),
    ],
)
def test_of_one_run_that_is_there_several_times_the_one_that_came_furthest_counts(make_run, states, kept):
    runs = [
        replace(make_run(status=state), status=Status(status=state, updated=100.0 + when))
        for when, state in enumerate(states)
    ]
    assert merge(runs) == [runs[kept]]
    assert merge(runs[::-1]) == [runs[kept]]


def test_a_study_without_runs_says_where_its_own_page_is(make_campaign):
    folder = make_campaign(arms=(), name="gains", config={"study": {}})
    runs = folder.path.parent
    with pytest.raises(ConfigError, match=r"^gains: no run yet$"):
        gather(["gains"], folder=runs)
    folder.study_page_path.parent.mkdir()
    folder.study_page_path.write_text("<html>")
    make_campaign(seeds=(0,), arms=("grpo",), name="one")
    with pytest.raises(
        ConfigError, match=r"^gains: no run yet; the page of the study shows .*gains/report/study.html$"
    ):
        gather(["one", "gains"], folder=runs)


@pytest.fixture
def tracked(make_campaign, tmp_path, empty_database):
    """Two campaigns beside their `mlflow.db`, one of which is in MLflow only."""
    import shutil

    folder = tmp_path / "runs"
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    uri = f"sqlite:///{folder}/mlflow.db"
    make_campaign(seeds=(0,), arms=("grpo",), name="stored")
    gone = make_campaign(seeds=(0,), arms=("entropic",), name="gone")
    assert Tracker(gone, uri).finish() == []
    expected = load_campaign(gone)
    shutil.rmtree(gone.path)
    return folder, uri, expected


def test_what_is_not_in_the_folder_is_looked_for_in_mlflow(tracked):
    folder, uri, expected = tracked
    client = open_client(uri)
    experiment = client.get_experiment_by_name("gone").experiment_id
    run_id = client.search_runs([experiment], "tags.`entrostat.arm` = 'entropic'")[0].info.run_id
    for found in (
        gather(["gone"], folder=folder),
        gather([run_id], folder=folder),
        gather([], folder=folder, filter="tags.`entrostat.campaign` = 'gone'"),
        gather(["gone"], folder=folder / "nowhere", uri=uri),
    ):
        assert found.runs[0].train.values.keys() == expected.runs[0].train.values.keys()
        assert compare(found).summaries[0].rmse == compare(expected).summaries[0].rmse
    both = gather(["stored", run_id], folder=folder)
    assert names(both) == ["grpo", "entropic"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"names": ["sotred"]}, "no campaign 'sotred' in .*; did you mean 'stored'"),
        ({"names": ["stored"], "uri": "sqlite:////nowhere/mlflow.db"}, "there is no such database"),
        ({"names": ["f" * 32]}, "no run with id"),
        ({"names": [], "filter": "tags.x = 'y'"}, "matches no run"),
        ({"names": []}, "nothing to compare: name campaigns"),
    ],
)
def test_what_is_not_there_is_said(tracked, wanted, message):
    with pytest.raises(ConfigError, match=message) as caught:
        gather(**wanted, folder=tracked[0])
    assert "\n" not in str(caught.value)


def test_the_reason_why_mlflow_gives_no_runs_is_told(tmp_path):
    open_client(f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(ConfigError, match=r"no campaign 'gone' in .*; nor from MLflow: .*gone"):
        gather(["gone"], folder=tmp_path)
