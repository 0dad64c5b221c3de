"""Rights that a grading worker gives up, for good, before it grades anything.

Graders parse what a policy wrote, and a mistake in one of them must not give the policy access to the
machine.  A worker that has prepared its task keeps only the right to read and to compute, to write into
a scratch folder of its own, and the rights that its task declares.  Each rule is enforced if the system
allows it, and the worker reports which rules are enforced and which are not.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct
import sys
import tempfile
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from tasks.base import GRADING_NEEDS
from tasks.grading import landlock, seccomp

MAX_FILE_MEGABYTES = 256
MAX_OPEN_FILES = 256

NOT_HELD = "NOT HELD"
"""How the report of a rule begins that this system does not enforce."""

_NO_NEW_PRIVILEGES = 38  # prctl
_READ_ANY_FILE = 1 << 2  # CAP_DAC_READ_SEARCH
_CAPABILITIES_VERSION = 0x20080522


def confine(
    needs: Collection[str], *, scratch: str, memory_limit_megabytes: int | None = None
) -> dict[str, str]:
    """Give up all but ``needs``; say of each rule what holds this process, or why nothing does.

    Args:
        needs: of `tasks.base.GRADING_NEEDS`, what stays allowed.
        scratch: the one folder that can be written, and where temporary files go.
        memory_limit_megabytes: address space, or no limit.

    Raises:
        ValueError: the task names a need that there is not, or has more memory than its limit already.
    """
    if unknown := sorted(set(needs) - set(GRADING_NEEDS)):
        raise ValueError(f"grading_needs must be of {', '.join(GRADING_NEEDS)}, got {', '.join(unknown)}")
    os.environ["TMPDIR"] = scratch
    tempfile.tempdir = None  # asks the environment again
    report = {
        "privileges": _held(_drop_privileges),
        **_limits(memory_limit_megabytes),
    }
    files = _held(partial(_landlock, needs, scratch))
    calls = _held(partial(_seccomp, needs))
    report |= {
        "network": _allowed("network", needs) or _network(calls, files),
        "processes": _allowed("processes", needs) or _words("none", calls),
        "writing": _allowed("writing", needs) or _writing(calls, files),
        "signals": _signals(files),
    }
    num_threads = len(list(Path("/proc/self/task").iterdir())) if sys.platform == "linux" else 1
    if num_threads > 1:
        report["threads"] = f"{NOT_HELD}: privileges and writing, for {num_threads - 1} threads of the task"
    return report


def _held(hold: Callable[[], str]) -> str:
    try:
        return hold()
    except OSError as error:
        return f"{NOT_HELD}: {error.strerror or error}"


def _allowed(need: str, needs: Collection[str]) -> str:
    return "allowed, the task needs it" if need in needs else ""


def _words(what: str, holder: str) -> str:
    return holder if holder.startswith(NOT_HELD) else f"{what}, by {holder}"


def _network(calls: str, files: str) -> str:
    if calls.startswith(NOT_HELD) and _version_of(files) >= landlock.TCP_SINCE:
        return f"no TCP, by {files}; all else {calls}"
    return _words("none", calls)


def _writing(calls: str, files: str) -> str:
    if not files.startswith(NOT_HELD) and calls.startswith(NOT_HELD):
        return f"contents in the scratch folder only, by {files}; modes and owners {calls}"
    return _words("in the scratch folder only", files)


def _signals(files: str) -> str:
    if files.startswith(NOT_HELD) or _version_of(files) >= landlock.SIGNALS_SINCE:
        return _words("to its own processes only", files)
    return f"{NOT_HELD}: needs Landlock {landlock.SIGNALS_SINCE}, this is {files}"


def _version_of(files: str) -> int:
    return 0 if files.startswith(NOT_HELD) else int(files.split()[-1])


def _landlock(needs: Collection[str], scratch: str) -> str:
    writable = None if "writing" in needs else {scratch: True, os.devnull: False}
    return f"Landlock {landlock.restrict(writable=writable, network='network' in needs)}"


def _seccomp(needs: Collection[str]) -> str:
    calls = {
        "network": seccomp.NETWORK,
        "processes": seccomp.PROCESSES,
        "writing": (*seccomp.ATTRIBUTES, *seccomp.SHARED_MEMORY),
    }
    refused = [call for need, names in calls.items() if need not in needs for call in names]
    seccomp.refuse(refused)
    return "seccomp"


def _drop_privileges() -> str:
    """No program gives more rights than there are, and those of root go but for reading files."""
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, f"no no_new_privs on {sys.platform}")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"no_new_privs: {os.strerror(ctypes.get_errno())}")
    header = struct.pack("=Ii", _CAPABILITIES_VERSION, 0)
    present = ctypes.create_string_buffer(24)
    if libc.capget(header, present) == 0:
        _, permitted, *_ = struct.unpack("=6I", present.raw)
        kept = permitted & _READ_ANY_FILE
        if libc.capset(header, struct.pack("=6I", kept, kept, 0, 0, 0, 0)) == 0:
            return "no_new_privs, capabilities dropped"
    raise OSError(ctypes.get_errno(), f"capabilities: {os.strerror(ctypes.get_errno())}")


def _limits(memory_limit_megabytes: int | None) -> dict[str, str]:
    limits = {
        "file size": (resource.RLIMIT_FSIZE, MAX_FILE_MEGABYTES * 2**20, f"{MAX_FILE_MEGABYTES} MiB a file"),
        "open files": (resource.RLIMIT_NOFILE, MAX_OPEN_FILES, f"{MAX_OPEN_FILES}"),
        "core dumps": (resource.RLIMIT_CORE, 0, "none"),
    }
    report = {"memory": "no limit"}
    if memory_limit_megabytes is not None:
        _check_room(memory_limit_megabytes)
        size = memory_limit_megabytes * 2**20
        limits["memory"] = (resource.RLIMIT_AS, size, f"{memory_limit_megabytes} MiB of address space")
    for name, (kind, value, words) in limits.items():
        report[name] = _held(partial(_limit, kind, value, words))
    return report


def _limit(kind: int, value: int, words: str) -> str:
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    try:
        resource.setrlimit(kind, (value, value))
    except ValueError as error:  # Python's word for a limit that the system refuses
        raise OSError(errno.EINVAL, str(error)) from error
    return words


def _check_room(limit_megabytes: int) -> None:
    """A limit below what there is already would fail every response, each with a riddle of its own."""
    if sys.platform != "linux":
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() // 2**20
    if size >= limit_megabytes:
        raise ValueError(
            f"the prepared task takes {size} MiB of address space, and the memory limit of a grader is "
            f"{limit_megabytes} MiB; raise execution.grading_memory_megabytes, or set it to null"
        )
