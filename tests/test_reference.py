"""docs/reference and configs/schema say what the classes say that read the files."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from orchestrator.commands.schema import FILES
from orchestrator.configuration.learner import LearnerConfig
from orchestrator.configuration.models import ArmConfig, CampaignConfig
from orchestrator.tuning.models import StudyConfig

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "reference").glob("*.md"))


@pytest.fixture(scope="module")
def written():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.files()


def test_every_file_is_current(written):
    stale = [str(path.relative_to(ROOT)) for path, text in written.items() if path.read_text() != text]
    assert not stale, "run `make reference`"
    assert {path.stem for path in written} == {*FILES, "parts"}


def section(page: str, title: str) -> str:
    text = (ROOT / "docs" / "reference" / f"{page}.md").read_text()
    return text.split(f"# {title}\n", 1)[1].split("\n#", 1)[0]


def keys(text: str) -> list[str]:
    return re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("page", "title", "owner"),
    [
        ("campaign", "Top level", CampaignConfig),
        ("campaign", "learner", LearnerConfig),
        ("campaign", "arms[]", ArmConfig),
        ("study", "Top level", StudyConfig),
    ],
)
def test_a_section_has_a_row_for_each_key(page, title, owner):
    assert keys(section(page, title)) == list(owner.model_fields)


def test_a_row_says_type_default_bounds_and_meaning():
    assert (
        "| `group_size` | whole number | `8` | ≥ 2 | Responses sampled for each prompt; "
        "advantages are relative to this group. |"
    ) in section("campaign", "learner")
    assert "| `kp` | number | required | ≥ 0 and finite | Proportional gain" in section("parts", "law: pid")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_no_meaning_is_empty_and_every_link_leads_to_a_heading(page):
    text = page.read_text()
    for row in re.findall(r"^\| `.*\|$", text, flags=re.MULTILINE):
        assert len(re.split(r"(?<!\\)\|", row)) == 7, row
        assert re.split(r"(?<!\\)\|", row)[5].strip(), row
    for file, anchor in re.findall(r"\]\((\w+\.md)?#([\w-]+)\)", text):
        target = page.parent / file if file else page
        titles = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.MULTILINE)
        assert anchor in {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in titles}
