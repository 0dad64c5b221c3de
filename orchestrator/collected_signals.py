"""Collects signals instead of raising them, for a process that has to end other processes first."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collected_signals() -> Iterator[list[int]]:
    """SIGTERM and SIGINT are collected instead of raised, so that workers are told in good order."""
    received: list[int] = []
    previous = {
        number: signal.signal(number, lambda signum, _: received.append(signum))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
