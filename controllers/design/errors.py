"""The error of a design whose goal cannot be met."""

from __future__ import annotations


class DesignError(ValueError):
    """The specification, the target or the plant admits no design; the message names the cure."""
