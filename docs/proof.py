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
from orchestrator.comparison.contrasts import contrasts
from orchestrator.comparison.records_file import campaigns_recorded
from orchestrator.comparison.regimes import measured, regime_map
from orchestrator.report.regime_table import regime_table
from orchestrator.report.summary_cells import around, signed
from orchestrator.report.table import NONE, Cell, Head, Table
from orchestrator.report.table_formats import FORMATS
from orchestrator.report.tables import TABLES
from orchestrator.storage.run_data import CampaignRecords

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "proof.md"
SHOWN = {
    "greedy": ("statistics", "eval/pass_at_1"),
    "trends": ("trends", None),
    "asymptote": ("asymptote", None),
}
"""Tables of each regime: what the page calls it, the table, and the metric that it is of."""


FIXED = {
    "auto": "bonus",
    "auto_up": "bonus",
    "cascade": "bonus",
    "released": "bonus",
    "auto_temperature": "temperature",
    "auto_exponent": "maxrl",
    "teaching": "maxrl",
}
"""Loops, and the fixed setting of the same actuator that each is compared with."""


def blocks(campaigns: Sequence[CampaignRecords]) -> dict[str, str]:
    """The generated parts of the page by the name between their markers: `map`, `loops`, and `<regime> <table>`."""
    found = {
        "map": "\n".join(
            map(_markdown, [regime_table(regime_map(campaigns, each)) for each in measured(campaigns)])
        )
    }
    found["loops"] = "\n".join(
        _markdown(duels(campaigns, metric)) for metric in ("eval/pass_at_1", "eval/pass_at_8")
    )
    for campaign in campaigns:
        for name, (table, metric) in SHOWN.items():
            drawn = TABLES[table](compare(campaign, metric=metric))
            found[f"{campaign.info.name} {name}"] = _markdown(drawn)
    return found


def duels(campaigns: Sequence[CampaignRecords], metric: str) -> Table:
    """What every loop gained over the chosen fixed setting of its own actuator, a column for each regime."""
    rows = []
    for loop, fixed in FIXED.items():
        cells = [_duel(campaign, metric, loop, fixed) for campaign in campaigns]
        rows.append((f"{loop} over {fixed}", tuple(cells)))
    heads = tuple(Head(campaign.info.name) for campaign in campaigns)
    return Table(
        name="loops", title=f"{metric}, gain over the same actuator, fixed", heads=heads, rows=tuple(rows)
    )


def _duel(campaign: CampaignRecords, metric: str, loop: str, fixed: str) -> Cell:
    arms = [arm for arm in campaign.arms if arm.name in (loop, fixed)]
    if len(arms) < 2:
        return Cell(NONE)
    found = next(each for each in contrasts(arms, metric, fixed) if each.arm == loop)
    return Cell(around(signed(found.difference), found.difference_interval), found.difference)


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
