"""Pieces of HTML that the sections of the page share.  Everything from a user or a file is escaped here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from html import escape

from orchestrator.report.plot_style import Figure, colour_index
from orchestrator.report.table import NONE
from orchestrator.storage.run_data import CampaignRecords

WORDS = ' class="words"'
LONG_NUMBER = re.compile(r"-?\d+\.\d{6,}(e-?\d+)?")


def json_for_script(content: object) -> str:
    """JSON that no `</script>` or `<!--` inside a string can end early."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def prose(sentence: str, campaign: CampaignRecords) -> str:
    """A sentence with the arms' names, which stand in backticks, in the arms' colours."""
    names = [arm.name for arm in campaign.arms]

    html = ""
    for part in re.split(r"(`[^`]*`)", sentence):
        name = part.strip("`")
        if name in names:
            index = colour_index(names, name)
            html += f'<b class="arm-text" style="--arm:var(--arm{index})">{escape(name)}</b>'
        else:
            html += escape(part)
    return html


def arm_number(campaign: CampaignRecords, arm: str) -> int:
    """By which the page's script knows an arm."""
    return [each.name for each in campaign.arms].index(arm)


def chip(campaign: CampaignRecords, arm: str) -> str:
    """An arm's name behind a dot of its colour."""
    index = colour_index([each.name for each in campaign.arms], arm)
    return f'<span class="chip" style="--arm:var(--arm{index})">{escape(arm)}</span>'


def opener(campaign: CampaignRecords, arm: str) -> str:
    """The same as a button that opens the arm's panel."""
    index = colour_index([each.name for each in campaign.arms], arm)
    return (
        f'<button type="button" class="chip" data-open="{arm_number(campaign, arm)}" '
        f'style="--arm:var(--arm{index})">{escape(arm)}</button>'
    )


def spread_cell(text: str) -> str:
    """The spread stands back behind the number; one seed has none."""
    value, separator, spread = escape(text.replace(f" ± {NONE}", "")).partition(" ± ")
    return f'{value}<span class="spread"> ± {spread}</span>' if separator else value


def plot(figure: Figure, campaign: CampaignRecords, *, tall: bool = False) -> str:
    """A figure's place on the page, or the sentence that says why there is none."""
    legend = "".join(opener(campaign, arm) for arm in figure.arms)
    body = (
        f'<p class="missing">{escape(figure.missing)}</p>'
        if figure.missing
        else f'<div class="plot{" tall" if tall else ""}" id="{escape(figure.id)}"></div>'
    )
    owner = f' data-arm="{arm_number(campaign, figure.owner)}"' if figure.owner else ""
    return (
        f"<figure{owner}><figcaption><b>{escape(figure.title)}</b> <span>{escape(figure.unit)}</span></figcaption>"
        f'<div class="legend">{legend}</div>{body}</figure>'
    )


def plots(several: Sequence[Figure], campaign: CampaignRecords, missing: str) -> str:
    """Figures side by side, or the sentence for their place."""
    if not several:
        return f'<p class="missing">{escape(missing)}</p>'
    return f'<div class="grid">{"".join(plot(figure, campaign) for figure in several)}</div>'


def table_rows(several: Iterable[Iterable[str]]) -> str:
    """Table rows of cells that are HTML already; the first is the row's head."""
    html = ""
    for head, *cells in several:
        html += f"<tr><th>{head}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    return html


def setting(value: str) -> str:
    """The value of a setting as code; of a long number six digits, and all of them on hovering."""
    if not LONG_NUMBER.fullmatch(value):
        return f"<code>{escape(value)}</code>"
    return f'<code title="{value}">{float(value):.6g}</code>'


def sort_head(title: str, meaning: str, *, words: bool = False) -> str:
    """The head of a column: a button that sorts by it; over words it stands at their left."""
    return f'<th{WORDS * words} title="{escape(meaning)}"><button type="button" class="sort">{escape(title)}</button></th>'
