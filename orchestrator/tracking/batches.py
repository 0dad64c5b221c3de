"""Cuts what is sent to MLflow into requests that it takes: at most a thousand metrics in each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from orchestrator.storage.metric_names import family_name
from orchestrator.storage.metrics_log import Record
from orchestrator.tracking.keys import clean_key

MAX_METRICS_PER_BATCH = 1000
"""MLflow's limit."""


def batches(records: list[Record]) -> Iterator[list[Record]]:
    """Cut into batches that MLflow takes in one transaction; a record is never cut."""
    batch: list[Record] = []
    size = 0
    for record in records:
        if batch and size + len(record.metrics) > MAX_METRICS_PER_BATCH:
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += len(record.metrics)
    if batch:
        yield batch


def metrics_of(record: Record, model_id: str | None = None) -> list[Any]:
    """The numbers of a record as MLflow has them, to the millisecond; those of a model are the same points."""
    from mlflow.entities import Metric

    return [
        Metric(clean_key(family_name(name)), value, int(1000 * record.time), record.step, model_id=model_id)
        for name, value in record.metrics.items()
    ]


def log_metrics(client: Any, run_id: str, metrics: Sequence[Any]) -> None:
    """Send metrics that need not arrive in one transaction: those of a model, or final numbers."""
    for begin in range(0, len(metrics), MAX_METRICS_PER_BATCH):
        client.log_batch(run_id, metrics=metrics[begin : begin + MAX_METRICS_PER_BATCH])
