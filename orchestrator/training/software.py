"""Compares the software of the ranks before anything is loaded: one message in place of whatever breaks first.

Ranks of other versions may still connect.  They then fail at the first thing that one pickles and another
cannot read, or train on weights that drift apart, and say nothing of the reason.
"""

from __future__ import annotations

import socket

from orchestrator.provenance import versions
from orchestrator.training.ranks import Ranks

COMPARED = ("python", "entrostat", "torch", "transformers", "lightning", "numpy")
"""What every rank computes with; a package that only the first rank uses, such as mlflow, may differ."""


class SoftwareDiffersError(RuntimeError):
    """The ranks do not run the same versions."""


def check_software(ranks: Ranks) -> None:
    """Make sure that all ranks run the same versions.  All have to call it.

    Raises:
        SoftwareDiffersError: they do not, on all of them; it names each version with the first rank that has it.
    """
    found = ranks.gather((socket.gethostname(), versions()))
    differences = []
    for package in COMPARED:
        first_with: dict[str, str] = {}
        for rank, (machine, installed) in enumerate(found):
            first_with.setdefault(installed[package], f"rank {rank} of {machine}")
        if len(first_with) > 1:
            listed = ", ".join(f"{version} on {place}" for version, place in first_with.items())
            differences.append(f"{package} is {listed}")
    if differences:
        raise SoftwareDiffersError(
            f"{'; '.join(differences)}; install the same versions on every machine (constraints.txt has the tested ones), "
            "or start all ranks from one environment on the shared disk"
        )
