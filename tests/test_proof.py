"""The page of the proof says what its records say, and the records are of the campaigns as they are."""

import importlib.util
from pathlib import Path

import pytest

from orchestrator.comparison.records_file import campaigns_recorded
from orchestrator.errors import ConfigError

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def proof():
    spec = importlib.util.spec_from_file_location("proof", ROOT / "docs" / "proof.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_records(proof):
    page = (ROOT / "docs" / "proof.md").read_text()
    assert proof.filled(page, proof.blocks(*proof.recorded())) == page, "run docs/proof.py"


def test_records_of_chosen_constants_are_of_their_campaigns():
    campaigns = campaigns_recorded([str(ROOT / "configs" / "proof" / "constants")], ROOT / "results")
    assert {run.info.seed for campaign in campaigns for run in campaign.runs} == {
        100
    }  # no seed of the results


def test_a_block_takes_the_place_of_what_stood_there(proof):
    page = "a\n<!-- map -->\nold\n<!-- end -->\nb\n<!-- other -->\n<!-- end -->\n"
    assert proof.filled(page, {"map": "new\n", "other": "too"}) == (
        "a\n<!-- map -->\nnew\n<!-- end -->\nb\n<!-- other -->\ntoo\n<!-- end -->\n"
    )


def test_results_take_no_other_campaign():
    with pytest.raises(ConfigError, match=r"holding\.parquet: no such file"):
        campaigns_recorded([str(ROOT / "configs" / "holding.yaml")], ROOT / "results")
