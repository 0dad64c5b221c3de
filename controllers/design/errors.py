"""What design says when a wish cannot be met."""

from __future__ import annotations


class DesignError(ValueError):
    """The specification, the target or the plant admits no design; the message names the cure."""
