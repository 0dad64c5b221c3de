"""Rights on files, TCP and signals that a thread gives up for good: Landlock, through its system calls.

Linux 5.13 and later; it asks no privilege.  See landlock(7) and linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Mapping

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same on all processors
_ASK_VERSION = 1
_PATH_BENEATH = 1

_WRITE_FILE = 1 << 1
_CHANGES = sum(1 << bit for bit in range(4, 13))  # remove, and make of each kind
_REFER, _TRUNCATE, _DEVICE_CONTROL = 1 << 13, 1 << 14, 1 << 15
_TCP = 0b11  # bind, connect
_ABSTRACT_SOCKETS, _SIGNALS = 0b01, 0b10

TCP_SINCE, SIGNALS_SINCE = 4, 6
"""Versions from which on there is a rule for TCP, and one for signals to other processes."""


def version() -> int:
    """The version of Landlock of this kernel.

    Raises:
        OSError: it has none, or it is switched off.
    """
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, f"no Landlock on {sys.platform}")
    return _call(_CREATE, None, 0, _ASK_VERSION)


def restrict(*, writable: Mapping[str, bool] | None, network: bool) -> int:
    """Give up writing but for what is beneath these paths, TCP unless ``network``, and signals to others.

    Args:
        writable: paths, and whether each is a folder; None gives up no writing.
        network: whether TCP and sockets of other processes stay allowed.

    Returns:
        The version of Landlock that holds this thread from now on.

    Raises:
        OSError: the system does not do that, for the reason it gives.
    """
    known = version()
    files = 0 if writable is None else _file_rights(known)
    tcp = _TCP if known >= TCP_SINCE and not network else 0
    scoped = (_SIGNALS | (0 if network else _ABSTRACT_SOCKETS)) if known >= SIGNALS_SINCE else 0
    if not files | tcp | scoped:
        return known
    size = 8 if known < TCP_SINCE else 16 if known < SIGNALS_SINCE else 24
    rules = _call(_CREATE, struct.pack("=QQQ", files, tcp, scoped), size, 0)
    try:
        for path, is_folder in (writable or {}).items():
            allowed = files if is_folder else files & (_WRITE_FILE | _TRUNCATE | _DEVICE_CONTROL)
            _allow(rules, path, allowed)
        _call(_RESTRICT, rules, 0)
    finally:
        os.close(rules)
    return known


def _file_rights(known: int) -> int:
    rights = _WRITE_FILE | _CHANGES
    for since, right in ((2, _REFER), (3, _TRUNCATE), (5, _DEVICE_CONTROL)):
        rights |= right if known >= since else 0
    return rights


def _allow(rules: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _call(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    passed = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *passed)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result
