"""The best policy of a run: which evaluation it was the best of, in a file beside its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.storage.files import read_record, write_json
from orchestrator.storage.run_folder import RunFolder

FILE = "evaluation.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """What makes a policy the best so far."""

    metric: str
    value: float
    iteration: int
    """Iterations that it had been trained for."""

    @property
    def sentence(self) -> str:
        """The note of a run that has ended."""
        return (
            f"the best policy by {self.metric}, {self.value:.4g} after {self.iteration} iterations, is in the folder "
            "'best' of the run, which policy.source can name"
        )


def read_best(folder: RunFolder) -> Best | None:
    """What the folder ``best`` of a run holds; None where there is none.

    Raises:
        ConfigError: the file was not written here.
    """
    path = folder.best_path / FILE
    return read_record(Best, path, f"delete the folder {path.parent}") if path.exists() else None


def write_best(best: Best, path: Path) -> None:
    """Write it into a folder of weights."""
    write_json(path / FILE, asdict(best))
