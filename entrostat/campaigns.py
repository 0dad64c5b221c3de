"""Campaigns and loops from Python: what the commands do, with values in the place of files and tables.

What a user can get wrong raises ``ValueError`` with the same line that the commands print.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controllers import FeedbackLoop

if TYPE_CHECKING:
    from pandas import DataFrame


def run(campaign: str | Path, settings: Mapping[str, Any] | None = None) -> Path:
    """Train and compare a campaign as ``entrostat run`` does, and give its folder; again continues.

    In a script, call it below ``if __name__ == "__main__":``, for graders are processes that import the script again.

    Args:
        campaign: its YAML file.
        settings: values over those of the file, ``{"learner.iterations": 20}``.

    Raises:
        ValueError: the campaign is not sound; nothing was trained.
        RuntimeError: a run was not completed; the file ``run.log`` in its folder says why.
    """
    from orchestrator.campaign import campaign_folder
    from orchestrator.commands.run import run_campaign
    from orchestrator.configuration.resolve import read_campaign

    overrides = [_override(key, value) for key, value in (settings or {}).items()]
    status = run_campaign(Path(campaign), overrides)
    folder = campaign_folder(read_campaign(Path(campaign), overrides)).path
    if status != 0:
        raise RuntimeError(f"{folder}: not all runs were completed; see run.log of each, and give it again")
    return folder


def read(
    *names: str, folder: str | Path = "runs", metrics: Sequence[str] = (), wide: bool = False
) -> DataFrame:
    """The records of stored campaigns as a table, as ``entrostat export`` writes it.

    Args:
        names: campaigns in the folder.
        folder: of the runs.
        metrics: names or patterns (``loop/*``); all where left out.
        wide: a row for each record with a column for each metric, in the place of a row for each number.

    Raises:
        ValueError: there is no such campaign or metric.
    """
    import pandas

    from orchestrator.comparison.export import export
    from orchestrator.comparison.sources import gather

    records = gather(list(names), folder=Path(folder), uri=None, filter=None)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "records.parquet"
        export(records, file, metrics=metrics, wide=wide)
        return pandas.read_parquet(file)


def compare(
    *names: str,
    folder: str | Path = "runs",
    table: str = "summary",
    baseline: str | None = None,
    metric: str | None = None,
) -> DataFrame:
    """One table of the comparison of stored campaigns, as ``entrostat compare`` prints it.

    Args:
        names: campaigns in the folder.
        folder: of the runs.
        table: which one; ``entrostat compare --help`` names them.
        baseline: the arm that the others are compared with.
        metric: what arms are compared on.

    Raises:
        ValueError: there is no such campaign, table, arm or metric.
    """
    import pandas

    from orchestrator.comparison import comparison
    from orchestrator.comparison.sources import gather
    from orchestrator.errors import did_you_mean
    from orchestrator.report.table_formats import FORMATS
    from orchestrator.report.tables import TABLES

    if table not in TABLES:
        raise ValueError(f"table: unknown table {table!r}; {did_you_mean(table, TABLES)}")
    records = gather(list(names), folder=Path(folder), uri=None, filter=None)
    found = comparison.compare(records, metric=metric, baseline=baseline)
    return pandas.read_csv(io.StringIO(FORMATS["csv"](TABLES[table](found))))


def loop(**settings: Any) -> FeedbackLoop:
    """A feedback loop with the keys that it has in a campaign: sensor, reference, law, actuator, limits, …

    ``loop(actuator={"kind": "bonus"})`` is the default of all else: coverage as the reference, the law ``auto``.

    Raises:
        ValueError: a setting is none, or is out of its bounds.
    """
    from orchestrator.configuration.loops import LoopConfig
    from orchestrator.configuration.own_paths import located
    from orchestrator.configuration.resolve import parse
    from tasks import own_code

    own_code.forget_changed()
    return parse(LoopConfig, located(settings, Path.cwd()), "loop").build()


def _override(key: str, value: Any) -> str:
    """A setting as the command takes it."""
    try:
        return f"{key}={json.dumps(value)}"
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"settings: {key} must be what YAML can hold, got {value!r:.60}; write a text or a number"
        ) from error
