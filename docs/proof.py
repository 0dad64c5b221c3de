"""Writes the tables of docs/proof.md from the records in results/, without training anything.

python docs/proof.py            # write them
python docs/proof.py --check    # exit 1 where they are not current
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from controllers.quality.quality import mean
from orchestrator.comparison.comparison import compare
from orchestrator.comparison.contrasts import contrasts
from orchestrator.comparison.records_file import campaigns_recorded
from orchestrator.comparison.regimes import measured, regime_map
from orchestrator.comparison.values import final_value
from orchestrator.report.regime_table import regime_table
from orchestrator.report.summary_cells import around, plain, signed
from orchestrator.report.table import NONE, Cell, Head, Table
from orchestrator.report.table_formats import FORMATS
from orchestrator.report.tables import TABLES
from orchestrator.storage.run_data import CampaignRecords

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "proof.md"
CONFIGS = ROOT / "configs" / "proof"
SHOWN = {
    "greedy": ("statistics", "eval/pass_at_1"),
    "many": ("statistics", "eval/pass_at_64"),
    "trends": ("trends", None),
    "asymptote": ("asymptote", None),
}
"""Tables of each regime: what the page calls it, the table, and the metric that it is of."""


SCORED = ("eval/pass_at_1", "eval/pass_at_8")
"""What constants were chosen by, the mean of the two."""

FIXED = {
    "paced": "bonus",
    "auto": "bonus",
    "auto_both": "bonus",
    "cascade": "bonus",
    "released": "bonus",
    "auto_temperature": "temperature",
    "auto_exponent": "maxrl",
    "teaching": "maxrl",
}
"""Loops, and the fixed setting of the same actuator that each is compared with."""


def blocks(campaigns: Sequence[CampaignRecords], studies: Sequence[CampaignRecords]) -> dict[str, str]:
    """The generated parts of the page by the name between their markers.

    They are `map`, `loops`, `<regime> <table>`, and `constants`, from the campaigns that chose them.
    """
    found = {
        "map": "\n".join(
            map(_markdown, [regime_table(regime_map(campaigns, each)) for each in measured(campaigns)])
        )
    }
    found["loops"] = "\n".join(
        _markdown(duels(campaigns, metric)) for metric in ("eval/pass_at_1", "eval/pass_at_8")
    )
    found["constants"] = _markdown(constants(studies))
    for campaign in campaigns:
        known = {metric for run in campaign.runs for metric in run.evaluation.values}
        for name, (table, metric) in SHOWN.items():
            if metric is not None and metric not in known:
                continue
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


def constants(studies: Sequence[CampaignRecords]) -> Table:
    """What the best and the worst constant of every method came to, a column for each regime."""
    scores = {study.info.name: _scores(study) for study in studies}
    methods = dict.fromkeys(method for found in scores.values() for method in found)
    rows = [(method, tuple(_range(found.get(method, {})) for found in scores.values())) for method in methods]
    heads = tuple(Head(name.removesuffix("_constants")) for name in scores)
    return Table(name="constants", title="Best and worst of five constants", heads=heads, rows=tuple(rows))


def _scores(study: CampaignRecords) -> dict[str, dict[str, float]]:
    """The mean of greedy and pass@8 at the end, by method and constant; an arm's name is both, ``bonus_0p03``."""
    found: dict[str, dict[str, float]] = {}
    for arm in study.arms:
        method, _, constant = arm.name.rpartition("_")
        score = mean([final_value(run, metric) for run in arm.runs for metric in SCORED])
        found.setdefault(method or constant, {})[constant.replace("p", ".")] = score
    return found


def _range(scores: dict[str, float]) -> Cell:
    if not scores:
        return Cell(NONE)
    best, worst = max(scores, key=scores.__getitem__), min(scores, key=scores.__getitem__)
    if best == worst:
        return Cell(plain(scores[best]))
    return Cell(f"{plain(scores[best])} at {best}, {plain(scores[worst])} at {worst}")


def filled(page: str, parts: dict[str, str]) -> str:
    """The page with the new text of every block between `<!-- name -->` and `<!-- end -->`."""

    def block(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{parts[match[1]].strip()}\n<!-- end -->"

    return re.sub(r"<!-- (?!end)(.+?) -->\n.*?<!-- end -->", block, page, flags=re.DOTALL)


def _markdown(table: Table) -> str:
    return FORMATS["markdown"](table)


def recorded() -> tuple[list[CampaignRecords], list[CampaignRecords]]:
    """The records of the regimes, and those of the campaigns that chose constants for them."""
    regimes, studies = (
        campaigns_recorded([str(folder)], ROOT / "results") for folder in (CONFIGS, CONFIGS / "constants")
    )
    return regimes, studies


def main() -> int:
    """Write or check the page."""
    page = PAGE.read_text()
    current = filled(page, blocks(*recorded()))
    if "--check" in sys.argv:
        return int(page != current)
    PAGE.write_text(current)
    return 0


if __name__ == "__main__":
    sys.exit(main())
