"""Reads runs from MLflow by a name, an id or a filter, in the form in which run folders are read.

Tags identify a run: `entrostat.campaign`, `.arm`, `.seed`, `.method`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from orchestrator.errors import ConfigError, did_you_mean, one_line
from orchestrator.masking import mask_uri, scrub
from orchestrator.storage.run_data import RunRecords
from orchestrator.tracking.addresses import SQLITE, sqlite_path
from orchestrator.tracking.read_run import read_run
from orchestrator.tracking.store import check, open_client

PAGE = 1000  # runs a request
READERS = 4  # requests at a time where a server answers them; SQLite gains nothing


def fetch_runs(
    uri: str,
    *,
    run_ids: Sequence[str] = (),
    campaign: str | None = None,
    filter: str | None = None,
    metrics: Sequence[str] | None = None,
) -> list[RunRecords]:
    """Runs of a tracking server or database, by arm in order of appearance and seed.

    Args:
        uri: the tracking URI.
        run_ids: MLflow run ids; that of a campaign or study stands for all runs below it.
        campaign: name of a campaign or study, which is the name of its experiment.
        filter: an MLflow filter string, over all experiments.
        metrics: names or patterns (`loop/*`) of the metrics to read; all of them where left out.

    Exactly one of ``run_ids``, ``campaign`` and ``filter`` says which runs.

    Raises:
        ConfigError: the URI cannot be read, or names no such run; nothing matches; the filter is not one.
    """
    assert sum(map(bool, (run_ids, campaign, filter))) == 1, "one of run_ids, campaign, filter"
    client = open_for_reading(uri)
    try:
        if run_ids:
            found = [run for run_id in run_ids for run in _by_id(client, uri, run_id)]
        elif campaign:
            found = _by_campaign(client, uri, campaign)
        else:
            found = _by_filter(client, uri, str(filter))
        unique = {run.info.run_id: run for run in _without_retried(found)}
        return sorted_runs(_read_all(client, uri, list(unique.values()), metrics))
    except ConfigError:
        raise
    except Exception as error:  # whatever MLflow, its server or its database raises half-way
        raise ConfigError(
            f"{mask_uri(uri)}: {scrub(one_line(error), uri)}; check the tracking server"
        ) from error


def open_for_reading(uri: str) -> Any:
    """An MLflow client; a database that is not there is not made.

    Raises:
        ConfigError: the URI cannot be used.
    """
    if uri.startswith(SQLITE) and not sqlite_path(uri).exists():
        raise ConfigError(
            f"{mask_uri(uri)!r}: there is no such database; give the one that runs were tracked in"
        )
    try:
        check(uri)
        return open_client(uri)
    except ValueError as error:
        raise ConfigError(f"tracking URI {error}") from error


def sorted_runs(runs: Iterable[RunRecords]) -> list[RunRecords]:
    """Campaigns and arms in order of appearance, seeds rising."""
    runs = list(runs)
    order: dict[tuple[str, str], int] = {}
    for run in runs:
        order.setdefault((run.info.campaign, run.info.arm), len(order))
    return sorted(runs, key=lambda run: (order[run.info.campaign, run.info.arm], run.info.seed))


def _without_retried(found: Sequence[Any]) -> Iterator[Any]:
    """Leave out stopped runs whose continuation is among the others."""
    retried = {run.data.tags["entrostat.retry_of"] for run in found if "entrostat.retry_of" in run.data.tags}
    return (run for run in found if run.data.tags.get("entrostat.key") not in retried)


def _by_id(client: Any, uri: str, run_id: str) -> list[Any]:
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise ConfigError(
            f"{mask_uri(uri)}: no run with id {run_id!r}; `mlflow runs list` shows ids"
        ) from error
    if _is_training(run):
        return [run]
    below = list(_descendants(client, run))
    if not below:
        raise ConfigError(
            f"{mask_uri(uri)}: run {run_id!r} is no training run of Entrostat and has none below it"
        )
    return below


def _descendants(client: Any, run: Any) -> Iterator[Any]:
    """Training runs below a run: children, or the children of trials."""
    filter_string = f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    for child in _search(client, [run.info.experiment_id], filter_string):
        if _is_training(child):
            yield child
        else:
            yield from _descendants(client, child)


def _by_campaign(client: Any, uri: str, campaign: str) -> list[Any]:
    experiment = client.get_experiment_by_name(campaign)
    found = _search(client, [experiment.experiment_id], "") if experiment is not None else []
    runs = [run for run in found if _is_training(run)]
    if not runs:
        hint = did_you_mean(campaign, experiment_names(client))
        raise ConfigError(f"{mask_uri(uri)}: no runs of a campaign {campaign!r}; {hint}")
    return runs


def experiment_names(client: Any) -> list[str]:
    """The experiments of a tracking server that are not deleted."""
    return [str(experiment.name) for experiment in _pages(client.search_experiments)]


def _by_filter(client: Any, uri: str, filter_string: str) -> list[Any]:
    from mlflow.exceptions import MlflowException

    ids = [experiment.experiment_id for experiment in _pages(client.search_experiments)]
    try:
        found = _search(client, ids, filter_string)
    except MlflowException as error:
        if error.error_code == "INVALID_PARAMETER_VALUE":
            raise ConfigError(f"filter {filter_string!r}: {one_line(error)}") from error
        raise
    runs = [run for run in found if _is_training(run)]
    if not runs:
        others = f" ({len(found)} that match are not training runs of Entrostat)" if found else ""
        example = "tags.`entrostat.arm` = 'grpo'"
        raise ConfigError(
            f'filter {filter_string!r} matches no run in {mask_uri(uri)}{others}; write it as in "{example}"'
        )
    return runs


def _search(client: Any, experiment_ids: Sequence[str], filter_string: str) -> list[Any]:
    if not experiment_ids:
        return []
    found = _pages(
        client.search_runs, list(experiment_ids), filter_string, order_by=["attributes.start_time ASC"]
    )
    return list(found)


def _pages(search: Any, *arguments: Any, **named: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(*arguments, max_results=PAGE, page_token=token, **named)
        yield from page
        token = page.token
        if not token:
            return


def _is_training(run: Any) -> bool:
    return "entrostat.arm" in run.data.tags and "entrostat.seed" in run.data.tags


def _read_all(client: Any, uri: str, runs: Sequence[Any], metrics: Sequence[str] | None) -> list[RunRecords]:
    if uri.startswith("http"):
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(lambda run: read_run(client, run, metrics), runs))
    return [read_run(client, run, metrics) for run in runs]
