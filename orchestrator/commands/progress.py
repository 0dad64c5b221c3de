"""Live progress of a campaign: one row per run in a terminal, periodic lines in a log."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from orchestrator.campaign import RunQueue
from orchestrator.storage.metrics_log import Record, Tail
from orchestrator.storage.run_folder import RunFolder, RunInfo, Status

LOG_EVERY_SECONDS = 15.0
AVERAGED_ITERATIONS = 20


@dataclass(slots=True)
class RunProgress:
    """What is known of one run from its folder."""

    folder: RunFolder
    info: RunInfo
    tail: Tail
    recent: list[Record] = field(default_factory=list)

    @classmethod
    def of(cls, folder: RunFolder) -> RunProgress:
        return cls(folder, folder.read_info(), Tail(folder.metrics_path))

    @property
    def name(self) -> str:
        return f"{self.info.arm}/seed-{self.info.seed}"

    @property
    def num_iterations(self) -> int:
        return int(self.info.config["learner"]["iterations"])

    @property
    def iteration(self) -> int:
        """Iterations finished."""
        return self.recent[-1].step + 1 if self.recent else 0

    def update(self) -> None:
        """Read what is new.  A broken file stops this row, not the campaign: its own run says why."""
        try:
            new = [record for record in self.tail.read() if record.kind == "train"]
        except ValueError:
            return
        if new and self.recent and new[0].step <= self.recent[-1].step:
            self.recent = []  # the run went back to its checkpoint
        self.recent = (self.recent + new)[-AVERAGED_ITERATIONS:]

    def seconds_left(self) -> float | None:
        """From the pace of the last iterations, by its median: a pause is no pace.  None until there is one."""
        if len(self.recent) < 2:
            return None
        return median(b.time - a.time for a, b in pairwise(self.recent)) * (
            self.num_iterations - self.iteration
        )

    def cells(self) -> list[str]:
        """Columns of the table: see `COLUMNS`."""
        metrics = self.recent[-1].metrics if self.recent else {}
        loops = sorted({name.split("/")[1] for name in metrics if name.startswith("loop/")})
        setpoints = [f"{metrics[k]:.3f}" for loop in loops if (k := f"loop/{loop}/r") in metrics]
        commands = [f"{metrics[k]:+.3f}" for loop in loops if (k := f"loop/{loop}/u") in metrics]
        left = self.seconds_left()
        return [
            self.name,
            " ".join([*_state(self.folder.read_status()), *_alarms(metrics)]),
            f"{self.iteration}/{self.num_iterations}",
            _number(metrics.get("pass_rate"), ".2f"),
            _number(metrics.get("entropy"), ".3f"),
            " ".join(setpoints) or "–",
            " ".join(commands) or "–",
            _number(metrics.get("rollout/tokens_per_second"), ".0f"),
            _clock(left) if left is not None else "–",
        ]


COLUMNS = ("run", "status", "iteration", "pass", "entropy", "setpoint", "command", "tokens/s", "left")


class Progress:
    """Shows the runs of a campaign while it is entered; call it at every poll."""

    def __init__(self, runs: Sequence[RunFolder], console: Console) -> None:
        self._runs = [RunProgress.of(run) for run in runs]
        self._console = console
        self._live = (
            Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        )
        self._next_line = 0.0

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, schedule: RunQueue) -> None:
        for run in self._runs:
            run.update()
        if self._live is not None:
            self._live.update(self.table())
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LOG_EVERY_SECONDS
            running = {worker.folder.path for worker in schedule.running}
            for run in self._runs:
                if run.folder.path in running:
                    cells = zip(COLUMNS[2:], run.cells()[2:], strict=True)
                    line = "  ".join(f"{name} {cell}" for name, cell in cells)
                    self._console.print(f"{run.name}  {line}", highlight=False, soft_wrap=True)

    def table(self) -> Table:
        """A row a run."""
        table = Table(box=None, pad_edge=False)
        for column in COLUMNS:
            table.add_column(column, justify="left" if column in ("run", "status") else "right")
        for run in self._runs:
            table.add_row(*run.cells())
        return table


def _state(status: Status) -> list[str]:
    """The state, and ``!unsaved`` while the last save of a run that goes on has failed."""
    is_unsaved = status.status == "running" and status.reason is not None
    return [status.status, "!unsaved"] if is_unsaved else [status.status]


def _alarms(metrics: Mapping[str, float]) -> list[str]:
    """What guardrails find wrong now, as ``!collapse``."""
    found = [name for name, value in metrics.items() if name.startswith("guard/") and value > 0]
    return [f"!{name.removeprefix('guard/')}" for name in found]


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
