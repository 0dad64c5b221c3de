"""Provenance of a result: versions of the software that computed it, and the commit of the user's repository."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("entrostat", "torch", "transformers", "lightning", "mlflow", "control", "optuna", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide results."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_commit(folder: Path) -> str | None:
    """Commit checked out in ``folder``, with ``-dirty`` where files differ; None outside a repository."""
    try:
        done = subprocess.run(  # nosec B603 B607  # a list of our own, no shell; the program that the user's PATH names
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
