"""The data sets of a run as MLflow's inputs: what its training problems come from, with a digest each.

A task that reads files has those; a task that makes its problems has its own settings, which are all that they
come from beside the seed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.masking import masked
from orchestrator.storage.run_folder import RunInfo

CONTEXT_TAG = "mlflow.data.context"
FILES = "local"
GENERATED = "entrostat_task"
MAX_DIGEST_CHARACTERS = 36  # MLflow's limits
MAX_NAME_CHARACTERS = 500
MAX_SOURCE_CHARACTERS = 65535
_OF_DATA = re.compile(r"(?:task|phases\.\d+\.task)\.[^ ]+: .+")
"""Labels of what tasks read: the setting and its value.  Labels of code have no colon after the setting."""


def log_datasets(client: Any, run: Any, info: RunInfo) -> None:
    """Log the data sets of a run that MLflow has no inputs of yet."""
    from mlflow.entities import DatasetInput, InputTag

    if run.inputs is not None and run.inputs.dataset_inputs:
        return
    tags = [InputTag(CONTEXT_TAG, "training")]
    inputs = [DatasetInput(each, tags) for each in _datasets(info)]
    if inputs:
        client.log_inputs(run.info.run_id, inputs)


def _datasets(info: RunInfo) -> Iterator[Any]:
    from mlflow.entities import Dataset

    files = {label: state for label, state in (info.inputs or {}).items() if _OF_DATA.fullmatch(label)}
    for label, state in files.items():
        setting, _, place = label.partition(": ")
        place = masked(place)
        digest = str(state["digest"]).rpartition(":")[2]
        if digest:  # "" is of a hub that did not answer
            yield Dataset(
                name=place[-MAX_NAME_CHARACTERS:],
                digest=digest[:MAX_DIGEST_CHARACTERS],
                source_type=FILES,
                source=json.dumps({"uri": place, "setting": f"{setting}: {place}"}, ensure_ascii=False)[
                    :MAX_SOURCE_CHARACTERS
                ],
                profile=_profile(state),
            )
    task = masked(info.config.get("task"))
    if isinstance(task, Mapping) and not files:
        settings = json.dumps(task, sort_keys=True, ensure_ascii=False)
        yield Dataset(
            name=str(task.get("kind", "task"))[-MAX_NAME_CHARACTERS:],
            digest=hashlib.sha256(settings.encode()).hexdigest()[:MAX_DIGEST_CHARACTERS],
            source_type=GENERATED,
            source=settings[:MAX_SOURCE_CHARACTERS],
        )


def _profile(state: Mapping[str, Any]) -> str | None:
    return json.dumps({"bytes": state["bytes"]}) if "bytes" in state else None
