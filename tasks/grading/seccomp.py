"""System calls that Linux refuses to a process for the rest of its life: seccomp, through a filter of our own.

It asks no privilege and works in containers that allow no namespaces.  The filter is a classic BPF
program over the number of the call and its first argument; see seccomp(2) and linux/seccomp.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Collection
from typing import NamedTuple

NETWORK = ("socket", "io_uring_setup")
"""Every way to a socket that is not one of a connected pair."""
PROCESSES = ("fork", "vfork", "clone", "clone3")
"""Every way to a process; threads stay allowed."""
ATTRIBUTES = (
    *("chmod", "fchmod", "fchmodat", "fchmodat2"),
    *("chown", "fchown", "lchown", "fchownat"),
    *("setxattr", "lsetxattr", "fsetxattr", "setxattrat"),
    *("removexattr", "lremovexattr", "fremovexattr", "removexattrat"),
    "truncate",
)
"""Changes of files that Landlock does not look at, or not in every version."""
SHARED_MEMORY = ("memfd_create", "memfd_secret", "shmget", "msgget", "semget", "mq_open")
"""Memory and messages that are no file in a folder, and that no limit on address space counts."""


class Machine(NamedTuple):
    """What linux/audit.h and the table of system calls say of a processor."""

    audit: int
    seccomp: int
    numbers: dict[str, int]


_COMMON = {
    "io_uring_setup": 425,
    "clone3": 435,
    "memfd_secret": 447,  # nosec B105  # the number of a system call
    "fchmodat2": 452,
    "setxattrat": 463,
    "removexattrat": 466,
}
MACHINES = {
    "x86_64": Machine(
        audit=0xC000003E,
        seccomp=317,
        numbers=_COMMON
        | {"socket": 41, "clone": 56, "fork": 57, "vfork": 58, "truncate": 76}
        | {"chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94}
        | {"setxattr": 188, "lsetxattr": 189, "fsetxattr": 190}
        | {"removexattr": 197, "lremovexattr": 198, "fremovexattr": 199}
        | {"fchownat": 260, "fchmodat": 268}
        | {"shmget": 29, "semget": 64, "msgget": 68, "mq_open": 240, "memfd_create": 319},
    ),
    "aarch64": Machine(
        audit=0xC00000B7,
        seccomp=277,
        numbers=_COMMON
        | {"setxattr": 5, "lsetxattr": 6, "fsetxattr": 7}
        | {"removexattr": 14, "lremovexattr": 15, "fremovexattr": 16}
        | {"truncate": 45, "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55}
        | {"mq_open": 180, "msgget": 186, "semget": 190, "shmget": 194, "memfd_create": 279}
        | {"socket": 198, "clone": 220},
    ),
}

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_CLONE_THREAD = 0x00010000
_X32 = 0x40000000  # numbers of another calling convention of x86-64
_SET_FILTER, _ALL_THREADS = 1, 1


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def refuse(calls: Collection[str]) -> None:
    """Refuse these system calls to all threads of this process and to whatever it starts.

    The process must have said ``no_new_privs``.  A refused call fails with EPERM.

    Raises:
        OSError: the system does not do that, for the reason it gives.
    """
    machine = MACHINES.get(platform.machine()) if sys.platform == "linux" else None
    if machine is None or sys.maxsize < 2**32:
        raise OSError(errno.ENOSYS, f"no filter for {sys.platform} on {platform.machine()}")
    code = filter_code(machine.audit, machine.numbers, calls)
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(machine.seccomp, _SET_FILTER, _ALL_THREADS, ctypes.byref(program)) != 0:
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")


def filter_code(audit: int, numbers: dict[str, int], calls: Collection[str]) -> bytes:
    """The filter as the kernel reads it; calls that a processor does not have are left out.

    The C library asks for ``clone3`` first and takes ``clone`` where the kernel says that there is none;
    only in ``clone`` can the filter see whether a thread is wanted.
    """
    refused = [numbers[name] for name in calls if name in numbers and name not in ("clone", "clone3")]
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, audit),
        (_RETURN, 0, 0, _REFUSE | errno.EPERM),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _REFUSE | errno.EPERM),
    ]
    for number in refused:
        code += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE | errno.EPERM)]
    if "clone3" in calls:
        code += [(_JUMP_EQUAL, 0, 1, numbers["clone3"]), (_RETURN, 0, 0, _REFUSE | errno.ENOSYS)]
    if "clone" in calls:
        code += [
            (_JUMP_EQUAL, 0, 3, numbers["clone"]),
            (_LOAD, 0, 0, _FIRST_ARGUMENT),
            (_JUMP_BITS, 1, 0, _CLONE_THREAD),
            (_RETURN, 0, 0, _REFUSE | errno.EPERM),
        ]
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
