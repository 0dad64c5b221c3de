"""The refusal of an identification, with its remedy."""

from __future__ import annotations


class IdentificationError(ValueError):
    """The recordings do not support a plant.  One sentence says why, and how to record better ones."""


def dither_advice(num_iterations: int, amplitude: float | None = None) -> str:
    """What to put into a campaign so that its recordings can be identified."""
    size = "a tenth to a third of the command's range" if amplitude is None else f"{amplitude:.2g}"
    return (
        f"add `dither: {{kind: prbs, hold: 3, amplitude: A}}` to the loop, A being {size}, "
        f"and run at least {num_iterations} iterations after the transient"
    )
