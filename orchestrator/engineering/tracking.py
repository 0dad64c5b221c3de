"""Logs identified plants, designs and simulations in the campaign's MLflow experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path

from orchestrator.masking import mask_uri, scrub
from orchestrator.provenance import versions
from orchestrator.tracking.keys import clean_key, flat_params
from orchestrator.tracking.store import check, experiment_of, open_client


def log_run(
    uri: str,
    campaign: str,
    *,
    kind: str,
    name: str,
    runs_root: Path,
    params: Mapping[str, object],
    metrics: Mapping[str, float],
    files: Sequence[Path],
) -> str:
    """Make a finished run with these figures and files; give the line that says where it is, or why not.

    The files are on disk already, so a tracking server that does not answer costs the entry there and
    nothing else.
    """
    try:
        check(uri)
        run_id = _log(uri, campaign, kind, name, runs_root, params, metrics, files)
    except Exception as error:  # whatever MLflow, its server or its database raises
        reason = scrub(" ".join(str(error).split()), uri)[:300]
        return f"not tracked: {mask_uri(uri)}: {reason}; the files are there, give --uri to track them"
    return f"tracked as run {run_id} of experiment {campaign!r} in {mask_uri(uri)}"


def _log(
    uri: str,
    campaign: str,
    kind: str,
    name: str,
    runs_root: Path,
    params: Mapping[str, object],
    metrics: Mapping[str, float],
    files: Sequence[Path],
) -> str:
    from mlflow.entities import Metric, Param

    client = open_client(uri)
    experiment_id = experiment_of(client, uri, runs_root, campaign)
    tags = {"entrostat.kind": kind, "entrostat.campaign": campaign}
    tags |= {
        f"entrostat.version.{clean_key(package)}": text
        for package, text in versions().items()
        if text != "not installed"
    }
    run_id = str(client.create_run(experiment_id, run_name=name, tags=tags).info.run_id)
    try:
        plain = flat_params(params)
        client.log_batch(
            run_id,
            metrics=[Metric(clean_key(key), v, 0, 0) for key, v in metrics.items() if isfinite(v)],
            params=[Param(key, value) for key, value in plain.items()],
        )
        for path in files:
            client.log_artifact(run_id, str(path), kind)
    except Exception:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)
    return run_id
