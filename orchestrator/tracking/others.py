"""Trackers beside MLflow: TensorBoard, Weights & Biases and Trackio get the records of every run.

They are written from the run's folder and never speak to a server unless their own environment variables say so.
``also.json`` there says which of them has which state of the records.  A run is followed while it trains
(`following.py`); what a tracker does not have when the campaign ends is written here, all at once.

Lightning has loggers for two of the three, which are not used: to import them loads torch into each follower, a process
a run, and `TensorBoardLogger` gives every number the time at which it is written, which is not that of its record.
`WandbLogger` counts its own calls as steps, so the records of an iteration are no row, and does not finish a run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import (
    AbstractContextManager,
    closing,
    contextmanager,
    redirect_stderr,
    redirect_stdout,
    suppress,
)
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Literal

from orchestrator.errors import one_line
from orchestrator.masking import masked
from orchestrator.storage.files import read_json, write_json
from orchestrator.storage.metric_names import family_name
from orchestrator.storage.metrics_log import Record
from orchestrator.storage.run_folder import OVER, CampaignFolder, RunFolder, RunInfo

OtherTracker = Literal["tensorboard", "wandb", "trackio"]
STATE_FILE = "also.json"


def check_installed(names: Iterable[OtherTracker]) -> None:
    """See that the packages of these trackers are there, before any training.

    Raises:
        ValueError: one is not; with the command that installs it.
    """
    for name in names:
        if find_spec(name) is None:
            raise ValueError(f"{name!r} needs the package {name}; pip install {name}, or leave it out")


def write_others(campaign: CampaignFolder, names: Sequence[OtherTracker]) -> list[str]:
    """Write the runs that have ended and that these trackers do not have; say in a line each what was not written."""
    missing = []
    for run in campaign.runs() if names else ():
        if run.read_status().status not in OVER:
            continue
        for name in names:
            try:
                _write_once(name, campaign.path, run)
            except Exception as error:  # whatever a tracker or a damaged file raises: the records are there
                missing.append(
                    f"{name}: {run.path}: not written ({one_line(error)}); the same command tries again"
                )
    return missing


def _write_once(name: OtherTracker, home: Path, run: RunFolder) -> None:
    if has_all(name, run):
        return
    # Without what the tracker prints, as it would stand in the middle of ours.
    with (
        redirect_stdout(StringIO()),
        redirect_stderr(StringIO()),
        WRITERS[name](home, run.read_info()) as write,
    ):
        for record in run.records():
            write(record)
    note_all(name, run)


def has_all(name: OtherTracker, run: RunFolder) -> bool:
    """Whether a tracker has all records of a run that has ended."""
    return _state(run).get(name) == run.metrics_path.stat().st_size


def note_all(name: OtherTracker, run: RunFolder) -> None:
    """A tracker has all records of a run that has ended."""
    write_json(run.path / STATE_FILE, {**_state(run), name: run.metrics_path.stat().st_size})


def _state(run: RunFolder) -> dict[str, object]:
    """What was written; nothing by a file that is damaged, for every tracker takes a run again without doubling it."""
    path = run.path / STATE_FILE
    try:
        content = read_json(path) if path.exists() else {}
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


Write = Callable[[Record], None]
"""Takes the records of one run in their order."""


@contextmanager
def _tensorboard(home: Path, info: RunInfo) -> Iterator[Write]:
    from tensorboard.summary import Writer

    folder = home / "tensorboard" / info.arm / f"seed-{info.seed}"
    shutil.rmtree(folder, ignore_errors=True)  # of the run before it was continued: nothing is there twice
    writer = Writer(str(folder))

    def write(record: Record) -> None:
        for name, value in record.metrics.items():
            writer.add_scalar(family_name(name), value, record.step, wall_time=record.time)
        writer.flush()  # which it does every two minutes by itself

    with closing(writer):
        yield write


@contextmanager
def _wandb(home: Path, info: RunInfo) -> Iterator[Write]:
    import wandb

    identity = f"{info.campaign}/{info.arm}/{info.seed}/{info.fingerprint}"
    run = wandb.init(
        project=info.campaign,
        name=f"{info.arm} seed-{info.seed}",
        group=info.arm,
        id=hashlib.blake2b(identity.encode(), digest_size=8).hexdigest(),
        resume="allow",
        dir=str(home),
        config=_config(info),
        mode=os.environ.get("WANDB_MODE", "offline"),
        settings=wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_code=True),
    )
    try:  # steps rise, and what has one step becomes one row
        yield lambda record: run.log(_families(record), step=record.step)
    finally:
        run.finish()


@contextmanager
def _trackio(home: Path, info: RunInfo) -> Iterator[Write]:
    os.environ.setdefault("TRACKIO_DIR", str(home / "trackio"))  # read when the package is imported
    import trackio

    name = f"{info.arm} seed-{info.seed}"
    with suppress(ValueError):  # the project is not there yet
        for before in trackio.Api().runs(info.campaign):
            if before.name == name:  # broken off, or continued since: nothing is there twice
                before.delete()
    run = trackio.init(
        project=info.campaign,
        name=name,
        group=info.arm,
        config=_config(info),
        embed=False,
        auto_log_gpu=False,
        auto_log_cpu=False,
    )
    try:
        yield lambda record: run.log(_families(record), step=record.step)
    finally:
        trackio.finish()  # of the one run that is open; that of the run leaves it to be finished again at the exit


WRITERS: dict[OtherTracker, Callable[[Path, RunInfo], AbstractContextManager[Write]]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "trackio": _trackio,
}
"""Each opens one run of a campaign's folder, from its start even where the tracker has some of it already."""


def _config(info: RunInfo) -> dict[str, object]:
    known: dict[str, object] = masked(info.config)
    return {"arm": info.arm, "seed": info.seed, "method": info.method, **known}


def _families(record: Record) -> dict[str, float]:
    return {family_name(name): value for name, value in record.metrics.items()}
