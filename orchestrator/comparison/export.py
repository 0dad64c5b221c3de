"""Exports runs as one table for other programs: Parquet or CSV, long or wide, written run by run.

long   campaign, arm, seed, method, kind, step, metric, value      one row a number
wide   campaign, arm, seed, method, kind, step, <metric>, ...      one row a record, empty where left out

A long Parquet file also carries what its runs are, so that `records_file` can read them back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.comparison.records_file import described
from orchestrator.errors import ConfigError, did_you_mean
from orchestrator.storage.files import replacing
from orchestrator.storage.metric_names import matches
from orchestrator.storage.outputs import naming_output, require_writable
from orchestrator.storage.run_data import CampaignRecords, RunRecords, Series

FORMATS = (".parquet", ".csv")
KEYS = ("campaign", "arm", "seed", "method", "kind", "step")


def check_output(path: Path) -> None:
    """Make sure, before anything is read, that the file can be written.

    Raises:
        ConfigError: another ending than `.parquet` or `.csv`, or no place to write to.
    """
    if path.suffix not in FORMATS:
        raise ConfigError(f"--output {path}: the ending says the format; use one of {', '.join(FORMATS)}")
    require_writable(path, "--output")


def export(campaign: CampaignRecords, path: Path, *, metrics: Sequence[str] = (), wide: bool = False) -> int:
    """Write every run of a campaign; give the number of rows.  The file is there whole or not at all.

    Args:
        campaign: of one campaign or several merged.
        path: ends in `.parquet` or `.csv`.
        metrics: names or patterns (`loop/*`) to write; all where left out.
        wide: a column a metric.

    Raises:
        ConfigError: no run has a metric that one of the patterns matches, or the file cannot be written.
    """
    names = chosen_names(campaign, metrics)
    schema = _schema(names if wide else None).with_metadata(None if wide else described(campaign))
    num_rows = 0
    with _writer(path, schema) as write:
        for run in campaign.runs:
            for kind, series in (("train", run.train), ("eval", run.evaluation)):
                own = [name for name in names if name in series.values]
                table = (
                    _wide(run, kind, series, names, schema) if wide else _long(run, kind, series, own, schema)
                )
                if table.num_rows:
                    write(table)
                    num_rows += table.num_rows
    return num_rows


def chosen_names(campaign: CampaignRecords, patterns: Sequence[str]) -> list[str]:
    """Metrics that any run has and any pattern matches, sorted.

    Raises:
        ConfigError: a pattern matches none, or there is nothing at all.
    """
    known = sorted({name for run in campaign.runs for name in (*run.train.values, *run.evaluation.values)})
    if not known:
        raise ConfigError(f"{campaign.info.name}: no run has recorded anything yet")
    for pattern in patterns:
        if not any(matches(name, [pattern]) for name in known):
            raise ConfigError(f"no run has the metric {pattern!r}; {did_you_mean(pattern, known)}")
    return [name for name in known if not patterns or matches(name, patterns)]


def _schema(columns: Sequence[str] | None) -> Any:
    import pyarrow as pa

    text = pa.dictionary(pa.int32(), pa.string())
    of_key = {"seed": pa.int64(), "step": pa.int64()}
    fields = [pa.field(key, of_key.get(key, text)) for key in KEYS]
    if columns is None:
        fields += [pa.field("metric", text), pa.field("value", pa.float64())]
    else:
        fields += [pa.field(name, pa.float64()) for name in columns]
    return pa.schema(fields)


def _long(run: RunRecords, kind: str, series: Series, names: Sequence[str], schema: Any) -> Any:
    """A row a finite value, metric by metric."""
    import pyarrow as pa

    known = [np.isfinite(series.values[name]) for name in names]
    counts = [int(mask.sum()) for mask in known]
    steps = [series.steps[mask] for mask in known]
    values = [series.values[name][mask] for name, mask in zip(names, known, strict=True)]
    metric = pa.DictionaryArray.from_arrays(
        pa.array(np.repeat(np.arange(len(names), dtype=np.int32), counts)), pa.array(list(names), pa.string())
    )
    columns = {
        **_keys(run, kind, np.concatenate([np.array([], np.int64), *steps])),
        "metric": metric,
        "value": pa.array(np.concatenate([np.array([]), *values])),
    }
    return pa.table(columns, schema=schema)


def _wide(run: RunRecords, kind: str, series: Series, names: Sequence[str], schema: Any) -> Any:
    """A row a record."""
    import pyarrow as pa

    columns = _keys(run, kind, series.steps)
    for name in names:
        columns[name] = pa.array(series.get(name), from_pandas=True)  # nan is left out, as in the record
    return pa.table(columns, schema=schema)


def _keys(run: RunRecords, kind: str, steps: Any) -> dict[str, Any]:
    import pyarrow as pa

    def repeated(text: str) -> Any:
        zeros = pa.array(np.zeros(steps.size, dtype=np.int32))
        return pa.DictionaryArray.from_arrays(zeros, pa.array([text], pa.string()))

    return {
        "campaign": repeated(run.info.campaign),
        "arm": repeated(run.info.arm),
        "seed": pa.array(np.full(steps.size, run.info.seed, dtype=np.int64)),
        "method": repeated(run.info.method),
        "kind": repeated(kind),
        "step": pa.array(steps),
    }


@contextmanager
def _writer(path: Path, schema: Any) -> Iterator[Any]:
    """Gives a function that appends a table; the file gets its name when all is written."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    types = [field.type.value_type if pa.types.is_dictionary(field.type) else field.type for field in schema]
    plain = pa.schema(list(zip(schema.names, types, strict=True)))
    with naming_output(path, "--output"), replacing(path) as file:
        if path.suffix == ".csv":
            with csv.CSVWriter(file, plain) as writer:
                yield lambda table: writer.write_table(table.cast(plain))
        else:
            with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
                yield writer.write_table
