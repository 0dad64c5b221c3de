"""A setting that is one number, or a range from which each problem draws one."""

from __future__ import annotations

IntOrRange = int | tuple[int, int]


def as_range(setting: IntOrRange) -> tuple[int, int]:
    """Lowest and highest value, both included."""
    return (setting, setting) if isinstance(setting, int) else setting


def guard_range(name: str, setting: IntOrRange, lowest: int, highest: int) -> None:
    """Raise ``ValueError``, with the field's name first, unless the range lies within the bounds."""
    low, high = as_range(setting)
    for bound in (low, high):
        if not lowest <= bound <= highest:
            raise ValueError(f"{name} must be between {lowest} and {highest}, got {bound}")
    if low > high:
        raise ValueError(f"{name} must be a range from low to high, got ({low}, {high})")
