"""Ends a command with one clear message and status 2, instead of a traceback, on bad input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

EXIT_BAD_INPUT = 2


@contextmanager
def clear_errors(**options: Any) -> Iterator[None]:
    """Bad input ends with its message and status 2, not with a traceback; so does what the file system refuses."""
    from orchestrator.errors import ConfigError, lines_of
    from orchestrator.storage.files import why_refused

    try:
        _require_usable(options)
        yield
    except ConfigError as error:
        message = str(error)
    except MemoryError:
        message = "this does not fit into memory; ask for less, or give the machine more"
    except OSError as error:
        if (reason := why_refused(error)) is None:
            raise
        message = reason
    else:
        return
    typer.echo(f"error: {lines_of([message])}", err=True)
    raise typer.Exit(EXIT_BAD_INPUT) from None


def _require_usable(options: dict[str, Any]) -> None:
    """Numbers on the command line are as those in a file: finite, and of 64 bits."""
    from orchestrator.errors import ConfigError, short

    for name, given in options.items():
        for value in given if isinstance(given, tuple) else (given,):
            if isinstance(value, int | float) and not abs(value) < 2**63:
                option = f"--{name.replace('_', '-')}"
                raise ConfigError(
                    f"{option}: must be finite and of at most 64 bits, got {short(value)}; change it"
                )
