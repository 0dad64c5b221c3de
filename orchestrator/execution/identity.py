"""The name of a process that no other has, and whether the process of a name is gone.

It is known of processes of this machine only, by the kernel's own counts, which no clock moves.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

PROC = Path("/proc")


def own_identity() -> str:
    """The name of this process: its machine since that was started, its number, and when it began.

    "" where the kernel does not tell, as outside of Linux; such a process is never held for gone.
    """
    machine, began = _machine(), _began(os.getpid())
    return f"{machine} {os.getpid()} {began}" if machine and began else ""


def is_gone(identity: str) -> bool:
    """Whether the process of a name has ended for certain; False for one of another machine."""
    machine, _, process = identity.partition(" ")
    if not process or machine != _machine():
        return False
    pid, _, began = process.partition(" ")
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another user's, who may hide what else there is to know
        return False
    return _began(int(pid)) != began


def _machine() -> str:
    """This machine from its start to its end, as processes that share their numbers see it."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()}/{boot}/{(PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _began(pid: int) -> str:
    """When a process began, in ticks since the machine was started; "" for one that has ended and is not waited for."""
    try:
        state, *fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else fields[18]
