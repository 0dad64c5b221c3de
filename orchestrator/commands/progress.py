"""Live progress of runs: a row a run and a total in a terminal, periodic lines in a log."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import TracebackType

from rich.console import Console, Group, JustifyMethod
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.campaign import RunQueue
from orchestrator.storage.activity import read_activity
from orchestrator.storage.metrics_log import Record, Tail
from orchestrator.storage.run_folder import OVER, RunFolder, RunInfo, RunState, Status

LOG_EVERY_SECONDS = 15.0
AVERAGED_ITERATIONS = 20
LINES_BELOW = 3  # the total, a line for the rows that are left out, and one for the cursor
READABLE_NAME = 32
"""Characters of a name that a narrow terminal keeps; it goes without further columns before."""
RUN = 0  # the column of names
DISPENSABLE = ("tokens/s", "command", "setpoint", "pass", "entropy")
"""Columns that a narrow terminal goes without, the first of them first."""
SHOWN_FIRST: tuple[RunState, ...] = ("running", "failed", "stopped", "interrupted", "done", "pending")
"""The rows that are kept where a terminal has too few lines for all."""


@dataclass(slots=True)
class RunProgress:
    """What is known of one run from its folder."""

    folder: RunFolder
    info: RunInfo
    tail: Tail
    recent: list[Record] = field(default_factory=list)
    has_worker: bool = False
    """Whether a process of this command is at it, which says so itself only once its libraries are loaded."""

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

    @property
    def status(self) -> Status:
        return self.folder.read_status()

    def update(self) -> None:
        """Read what is new.  A broken file stops this row, not the campaign: its own run says why."""
        try:
            new = [record for record in self.tail.read() if record.kind == "train"]
        except ValueError:
            return
        if new and self.recent and new[0].step <= self.recent[-1].step:
            self.recent = []  # the run went back to its checkpoint
        self.recent = (self.recent + new)[-AVERAGED_ITERATIONS:]

    def pace(self) -> float | None:
        """Seconds an iteration, the median of the last: a pause is no pace.  None until there are two."""
        if len(self.recent) < 2:
            return None
        return median(b.time - a.time for a, b in pairwise(self.recent))

    def seconds_left(self) -> float | None:
        """Until the last iteration ends, at that pace."""
        pace = self.pace()
        return None if pace is None else pace * (self.num_iterations - self.iteration)

    def cells(self) -> list[str]:
        """Columns of the table: see `COLUMNS`."""
        metrics = self.recent[-1].metrics if self.recent else {}
        loops = sorted({name.split("/")[1] for name in metrics if name.startswith("loop/")})
        setpoints = [f"{metrics[k]:.3f}" for loop in loops if (k := f"loop/{loop}/r") in metrics]
        commands = [f"{metrics[k]:+.3f}" for loop in loops if (k := f"loop/{loop}/u") in metrics]
        left = self.seconds_left()
        return [
            self.name,
            " ".join([*self._state(), *_alarms(metrics)]),
            f"{self.iteration}/{self.num_iterations}",
            _number(metrics.get("pass_rate"), ".2f"),
            _number(metrics.get("entropy"), ".3f"),
            " ".join(setpoints) or "–",
            " ".join(commands) or "–",
            _number(metrics.get("rollout/tokens_per_second"), ".0f"),
            _clock(left) if left is not None else "–",
        ]

    def _state(self) -> list[str]:
        """The state, or what the run is at beside its iterations; ``!unsaved`` while the last save of it has failed."""
        status = self.status
        if status.status == "pending":
            return ["starting" if self.has_worker else "pending"]
        if status.status != "running":
            return [status.status]
        activity = read_activity(self.folder.path)
        is_iterating = activity is None or activity.name == "iteration"
        return ["running" if is_iterating else str(activity), *["!unsaved"] * (status.reason is not None)]


COLUMNS = ("run", "status", "iteration", "pass", "entropy", "setpoint", "command", "tokens/s", "left")


class Progress:
    """Shows runs while it is entered; call it at every poll.

    Args:
        folders: the runs of a campaign; a study has others from poll to poll, see `show`.
        console: where to.
    """

    def __init__(self, folders: Sequence[RunFolder], console: Console) -> None:
        self._folders = folders
        self._known: dict[Path, RunProgress] = {}
        self._console = console
        self._live = (
            Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        )
        self._next_line = 0.0
        self._begun = time.monotonic()

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, queue: RunQueue) -> None:
        working = {worker.folder.path for worker in queue.running}
        runs = self._read(self._folders)
        for run in runs:
            run.has_worker = run.folder.path in working
        self._show(runs)

    def show(self, folders: Sequence[RunFolder], total: str) -> None:
        """Show these runs; ``total`` stands for the total of their own iterations."""
        self._show(self._read(folders), total)

    def _show(self, runs: Sequence[RunProgress], total: str | None = None) -> None:
        if self._live is None and time.monotonic() < self._next_line:
            return
        total = f"{total or self._total(runs)}  elapsed {_clock(time.monotonic() - self._begun)}"
        if self._live is not None:
            self._live.update(self.view(runs, total))
        else:
            self._next_line = time.monotonic() + LOG_EVERY_SECONDS
            running = [run for run in runs if run.has_worker or run.status.status == "running"]
            for run in running:
                cells = zip(COLUMNS[1:], run.cells()[1:], strict=True)
                line = "  ".join(f"{name} {cell}" for name, cell in cells)
                self._console.print(f"{run.name}  {line}", highlight=False, markup=False, soft_wrap=True)
            if running:
                self._console.print(total, highlight=False, markup=False, soft_wrap=True)

    def view(self, runs: Sequence[RunProgress], total: str) -> Group:
        """The rows that there is room for, those that run before all others, and the total."""
        room = max(1, self._console.height - LINES_BELOW - 1)
        ranked = sorted(runs, key=lambda run: (not run.has_worker, SHOWN_FIRST.index(run.status.status)))
        kept = {id(run) for run in ranked[:room]}
        below = [total]
        if len(runs) > room:
            below = [f"… and {len(runs) - room} more runs", *below]
        rows = [run.cells() for run in runs if id(run) in kept]
        return Group(table_of(rows, self._console.width), *(Text(line, overflow="fold") for line in below))

    def _read(self, folders: Sequence[RunFolder]) -> list[RunProgress]:
        for folder in folders:
            if folder.path not in self._known:
                self._known[folder.path] = RunProgress.of(folder)
        runs = [self._known[folder.path] for folder in folders]
        for run in runs:
            run.update()
        return runs

    def _total(self, runs: Sequence[RunProgress]) -> str:
        """Runs and iterations of all, and the time left at the pace of those that run, for as many at a time."""
        states = [run.status.status for run in runs]
        open_runs = [run for run, state in zip(runs, states, strict=True) if state not in (*OVER, "failed")]
        paces = [pace for run in runs if (pace := run.pace()) is not None]
        num_at_work = sum(run.has_worker for run in runs) or states.count("running") or 1
        remaining = sum(run.num_iterations - run.iteration for run in open_runs)
        left = _clock(remaining * median(paces) / num_at_work) if paces else "–"
        finished, planned = sum(run.iteration for run in runs), sum(run.num_iterations for run in runs)
        ended = f"{sum(state in OVER for state in states)}/{len(runs)} runs ended"
        return f"{ended}  {finished}/{planned} iterations  left {left}"


def table_of(rows: Sequence[Sequence[str]], width: int) -> Table:
    """A row a run, without the columns that there is no room for; a long name is shortened at its front."""
    widths = {
        column: max(len(column), *(len(row[place]) for row in rows), 0)
        for place, column in enumerate(COLUMNS)
    }
    gap, run = 1, COLUMNS[RUN]
    widths[run] = min(widths[run], READABLE_NAME)
    for column in DISPENSABLE:
        if sum(widths.values()) + gap * (len(widths) - 1) > width:
            del widths[column]
    others = sum(each + gap for column, each in widths.items() if column != run)
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0))
    for column in widths:
        justify: JustifyMethod = "left" if column in ("run", "status") else "right"
        table.add_column(column, justify=justify, no_wrap=True)
    for row in rows:
        cells = dict(zip(COLUMNS, row, strict=True))
        cells[run] = _shortened(row[RUN], max(READABLE_NAME, width - others))
        table.add_row(*(cells[column] for column in widths))
    return table


def _shortened(name: str, width: int) -> str:
    """A name without its first characters; its seed is at the end."""
    return name if len(name) <= width else f"…{name[len(name) - width + 1 :]}"


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
