"""Renders the templates of the pages.  Jinja escapes whatever stands in them, from a user or a file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from orchestrator.report.glossary import explained
from orchestrator.report.plot_style import colour_index
from orchestrator.storage.run_data import CampaignRecords

if TYPE_CHECKING:
    from jinja2 import Environment

LONG_NUMBER = re.compile(r"-?\d+\.\d{6,}(e-?\d+)?")


@dataclass(frozen=True, slots=True)
class Arms:
    """The arms of a campaign, as templates name and colour them."""

    names: tuple[str, ...]

    @classmethod
    def of(cls, campaign: CampaignRecords) -> Arms:
        return cls(tuple(arm.name for arm in campaign.arms))

    def number(self, name: str) -> int:
        """By which the page's script knows an arm."""
        return self.names.index(name)

    def colour(self, name: str) -> int:
        """The number of its colour."""
        return colour_index(self.names, name)

    def words(self, sentence: str) -> Iterator[tuple[str, bool]]:
        """A sentence in pieces, each with whether it is the name of an arm, which stands in backticks."""
        for part in re.split(r"(`[^`]*`)", sentence):
            name = part.strip("`")
            yield (name, True) if name in self.names else (part, False)


def rendered(template: str, **values: object) -> Markup:
    """A template of this package with its values.

    Raises:
        jinja2.UndefinedError: it names a value that is not there.
    """
    return Markup(_environment().get_template(template).render(values))  # nosec B704  # escaped by the template


def script(name: str) -> Markup:
    """A file of this package, a style or a script, as it is."""
    return Markup((files("orchestrator.report") / name).read_text(encoding="utf-8"))  # nosec B704  # ours


def plotly_script() -> Markup:
    """The script that Plotly's Python package brings along; imports nothing of it."""
    file = files("plotly") / "package_data" / "plotly.min.js"
    return Markup(file.read_text(encoding="utf-8"))  # nosec B704  # theirs


def json_for_script(content: object) -> Markup:
    """JSON that no `</script>` or `<!--` inside a string can end early."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))  # nosec B704  # no tag is left in it


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("orchestrator.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["explained"] = explained
    environment.tests["long_number"] = _is_long_number
    return environment


def _is_long_number(value: Any) -> bool:
    return LONG_NUMBER.fullmatch(value) is not None
