"""Delivers the samples of a run to MLflow: every file as it is, and at the end all texts as a table that MLflow shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.storage.samples import Sample, sample_files, undamaged_samples

FOLDER = "samples"
"""The folder of samples among the artifacts of a run."""

TABLE = f"{FOLDER}/samples.json"


class SampleDelivery:
    """The samples of one run on their way to MLflow, each once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sent: set[str] = set()

    def forward(self, client: Any, run_id: str, *, before: int, is_over: bool) -> None:
        """Deliver the files of iterations before one, and the table of a run that has ended.

        MLflow is asked what it has only where there is more.
        """
        files = sample_files(self.folder, before).values()
        wanted = {f"{FOLDER}/{path.name}": path for path in files}
        tables = {TABLE} if wanted and is_over else set()
        if wanted.keys() | tables <= self._sent:
            return
        self._sent |= {item.path for item in client.list_artifacts(run_id, FOLDER)}
        for name in wanted.keys() - self._sent:
            client.log_artifact(run_id, str(wanted[name]), FOLDER)
            self._sent.add(name)
        # Once, for MLflow adds to a table that it has; and at the end, for each table takes room in a tag.
        for name in tables - self._sent:
            if samples := [each for path in files for each in undamaged_samples(path)]:
                client.log_table(run_id, table_of(samples), name)
            self._sent.add(name)


def table_of(samples: Sequence[Sample]) -> dict[str, list[Any]]:
    """Columns for people: turns are one text, and of the entropies there is the mean [nats/token]."""
    return {
        "iteration": [each.iteration for each in samples],
        "domain": [each.domain for each in samples],
        "prompt": [each.prompt for each in samples],
        "response": ["\n\n".join(each.turns) for each in samples],
        "answer": [each.answer for each in samples],
        "reward": [each.reward for each in samples],
        "right": [each.right for each in samples],
        "length": [each.length for each in samples],
        "finished": [each.finished for each in samples],
        "entropy": [each.mean_entropy for each in samples],
    }
