"""The policies in the folder of a run, the trained one and the best one, found by the run's name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import ConfigError, named
from orchestrator.storage.best_file import Best, read_best
from orchestrator.storage.run_folder import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPolicy:
    """A policy that a run has kept, as `from_pretrained` reads it."""

    run: RunFolder
    path: Path
    best: Best | None
    """The evaluation that it was the best of; None for the policy at the end."""

    @property
    def iteration(self) -> int:
        """Iterations that it was trained for."""
        return self.run.read_status().iteration if self.best is None else self.best.iteration


def named_run(name: str, folder: Path) -> RunFolder | None:
    """The run ``campaign/arm/seed-0`` or ``campaign/arm/0`` in ``folder``, or the one at that path; None without one.

    Its path is resolved: what keeps it may be read from elsewhere.
    """
    in_full = re.sub(r"/(\d+)$", r"/seed-\1", name)
    found = (RunFolder(path.resolve()) for path in (folder / in_full, Path(name)))
    return next((each for each in found if each.exists()), None)


def names_of_runs(folder: Path) -> list[str]:
    """Names of the runs in a folder of runs, as `named_run` takes them."""
    return sorted(path.parent.relative_to(folder).as_posix() for path in folder.glob("*/*/seed-*/run.json"))


def stored_policy(run: RunFolder, *, best: bool) -> StoredPolicy:
    """The policy that a run has kept: at its end, or the ``best`` one.

    Raises:
        ConfigError: it has kept none; the message says why and what to do.
    """
    kept = read_best(run)
    if best:
        if kept is None:
            raise ConfigError(
                f"{named(run.path)}: has kept no best policy; leave out --best, or set evaluation.keep_best and train it "
                "under another name"
            )
        return StoredPolicy(run=run, path=run.best_path, best=kept)
    if not (run.policy_path / "config.json").exists() and not holds_adapters(run.policy_path):
        cure = "add --best for the best one so far" if kept else "give the command of its campaign again"
        raise ConfigError(
            f"{named(run.path)}: has no policy, since it is {run.read_status().status} and not done; {cure}"
        )
    return StoredPolicy(run=run, path=run.policy_path, best=None)


def holds_adapters(path: Path) -> bool:
    """Whether a folder holds adapters alone, without their base."""
    return (path / "adapter_config.json").exists()
