"""Writes the tables of docs/proof.md from the records in results/, without training anything.

python docs/proof.py            # write them
python docs/proof.py --check    # exit 1 where they are not current
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestrator.comparison.comparison import compare
from orchestrator.comparison.records_file import campaigns_recorded
from orchestrator.comparison.regimes import measured, regime_map
from orchestrator.report.regime_table import regime_table
from orchestrator.report.table import Table
from orchestrator.report.table_formats import FORMATS
from orchestrator.report.tables import TABLES
from orchestrator.storage.run_data import CampaignRecords

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "proof.md"
SHOWN = {
    "greedy": ("statistics", "eval/pass_at_1"),
    "sampled": ("statistics", "eval/pass_rate"),
    "pass_at_8": ("statistics", "eval/pass_at_8"),
    "asymptote": ("asymptote", None),
}
"""Tables of each regime: what the page calls it, the table, and the metric that it is of."""


def blocks(campaigns: Sequence[CampaignRecords]) -> dict[str, str]:
    """The generated parts of the page by the name between their markers: `map`, and `<regime> <table>`."""
    found = {
        "map": "\n".join(
            map(_markdown, [regime_table(regime_map(campaigns, each)) for each in measured(campaigns)])
        )
    }
    for campaign in campaigns:
        for name, (table, metric) in SHOWN.items():
            drawn = TABLES[table](compare(campaign, metric=metric))
            found[f"{campaign.info.name} {name}"] = _markdown(drawn)
    return found


def filled(page: str, parts: dict[str, str]) -> str:
    """The page with the new text of every block between `<!-- name -->` and `<!-- end -->`."""

    def block(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{parts[match[1]].strip()}\n<!-- end -->"

    return re.sub(r"<!-- (?!end)(.+?) -->\n.*?<!-- end -->", block, page, flags=re.DOTALL)


def _markdown(table: Table) -> str:
    return FORMATS["markdown"](table)


def main() -> int:
    """Write or check the page."""
    campaigns = campaigns_recorded([str(ROOT / "configs" / "proof")], ROOT / "results")
    page = PAGE.read_text()
    current = filled(page, blocks(campaigns))
    if "--check" in sys.argv:
        return int(page != current)
    PAGE.write_text(current)
    return 0


if __name__ == "__main__":
    sys.exit(main())
