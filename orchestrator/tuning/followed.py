"""The record of a run that trains, followed as it grows."""

from __future__ import annotations

import numpy as np

from orchestrator.storage.metrics_log import Record, Tail
from orchestrator.storage.run_folder import RunFolder
from orchestrator.tuning.objectives import SeedRecord


class Followed:
    """Reads along in the folder of a run, which another process writes, truncates or has not made yet."""

    def __init__(self, folder: RunFolder, loop: str, sensor: str, dead_time: int = 1) -> None:
        self._tail = Tail(folder.metrics_path)
        self._loop = loop
        self._sensor = sensor
        self._dead_time = dead_time
        self._train: list[Record] = []
        self._exams: list[Record] = []

    @property
    def num_iterations(self) -> int:
        """Iterations that are recorded."""
        return self._train[-1].step + 1 if self._train else 0

    def update(self) -> None:
        """Read what is new; a run that goes back to its checkpoint writes some steps again."""
        for record in self._tail.read():
            records = self._train if record.kind == "train" else self._exams
            while records and records[-1].step >= record.step:
                records.pop()
            records.append(record)

    def record(self, num_iterations: int | None = None) -> SeedRecord:
        """What there is, or what there was after so many iterations and before the exam that followed them."""
        train, exams = self._train, self._exams
        if num_iterations is not None:
            train = [record for record in train if record.step < num_iterations]
            exams = [record for record in exams if record.step < num_iterations]
        names = {name for record in exams for name in record.metrics if name.count("/") == 1}
        return SeedRecord(
            reading=_column(train, self._sensor),
            r=_column(train, f"loop/{self._loop}/r"),
            u=_column(train, f"loop/{self._loop}/u"),
            dead_time=self._dead_time,
            reward=_column(train, "reward"),
            exams={name: _points(exams, name) for name in names},
        )


def _column(records: list[Record], name: str) -> np.ndarray:
    return np.array([record.metrics.get(name, np.nan) for record in records], dtype=float)


def _points(records: list[Record], name: str) -> tuple[np.ndarray, np.ndarray]:
    known = [record for record in records if name in record.metrics]
    steps = np.array([record.step for record in known], dtype=float)
    return steps, np.array([record.metrics[name] for record in known], dtype=float)
