"""The region of stable (kp, ki), and the sensitivity of the loop inside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from controllers.base import Filter
from controllers.design.frequency import sensitivity_peak
from controllers.design.response import spectral_radius
from controllers.design.transfer import Array, close
from controllers.plants.plant import Plant


@dataclass(frozen=True, slots=True, kw_only=True)
class StabilityMap:
    """A grid of gains; rows are kp, columns ki.

    On an integrator with gain c and delay 1 the stable region is the triangle 0 < c·ki < c·kp and
    2·c·kp − c·ki < 4.
    """

    kp: Array
    """kp of each row [command per unit of z]."""

    ki: Array
    """ki of each column [command per unit of z per iteration]."""

    radius: Array
    """Largest |pole| of the closed loop; stable below 1."""

    ms: Array
    """Peak of the sensitivity; inf where not stable."""

    @property
    def stable(self) -> NDArray[np.bool_]:
        """Whether each pair of gains makes a stable loop."""
        return self.radius < 1


def stability_map(
    plant: Plant, kp: ArrayLike, ki: ArrayLike, *, kd: float = 0.0, filter: Filter | None = None
) -> StabilityMap:
    """Poles and Ms at every pair of ``kp`` [P] and ``ki`` [Q], gains per unit of the plant's z."""
    rows, columns = np.asarray(kp, dtype=float), np.asarray(ki, dtype=float)
    loops = close(plant, kp=rows[:, None], ki=columns[None, :], kd=kd, filter=filter)
    return StabilityMap(
        kp=rows, ki=columns, radius=spectral_radius(loops.characteristic), ms=sensitivity_peak(loops)
    )
