"""The law ``auto`` on many plants at once: `controllers.laws.auto` with arrays for floats."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from controllers.identification import effect_filters as filters
from controllers.laws import auto as law

Array = NDArray[np.float64]


class AutoOfMany:
    """One ``auto`` a plant; commands are shares of the range, readings ln of the entropy over the reference.

    Arrays have the shape (9, N): a row a view, a column a plant.  ``told`` is the variance of each reading, as its
    batch tells it, shape (T, N).
    """

    def __init__(self, low: Array, told: Array | None = None) -> None:
        shape = (len(filters.VIEWS), low.size)
        numbers = np.array(filters.NUMBERS).T[:, :, None]
        self.pushes, self.far, self.calm, self.within, self.most_dd, self.most_gg = numbers[:6]
        self.kept, late = np.array([filters.LAGS[row[6]] for row in filters.NUMBERS]).T[:, :, None]
        self.late = late.astype(int)
        self.least = np.where(self.calm, filters.CALM, filters.LIVELY)
        # the smaller side, but at least a tenth of the larger
        self.unit = np.where(low < 0, np.clip(-low, 0.1, 1.0), 1.0)
        self.low, self.high, self.told = low / self.unit, 1 / self.unit, told
        self.known, self.num_told, self.num_read = np.zeros((3, low.size))
        for name in ("d", "g", "f", "xd", "xg", "surprise", "fit"):
            setattr(self, name, np.zeros(shape))
        self.dd, self.gg = (np.broadcast_to(most, shape).copy() for most in (self.most_dd, self.most_gg))
        self.dg = -0.5 * self.pushes * np.sqrt(self.dd * self.gg)
        self.d = self.d + np.array([[view.drift] for view in filters.VIEWS])
        self.c0 = np.full(shape, filters.START_VARIANCE)
        self.c1 = -self.c0 / 2
        self.num = np.full(shape, filters.START_CHANGES)
        self.suspect = np.zeros(shape, bool)
        self.x = self.z = np.zeros(shape)
        self.backwards, self.missed, self.applied = np.zeros((3, low.size))
        self.recent = np.full((10, low.size), np.nan)
        self.commands = np.zeros((filters.LATEST + 1, low.size))  # the last, newest first

    def __call__(self, t: int, reading: Array, last: Array) -> Array:
        """Commands after the readings of iteration ``t``, nan where none came; ``last`` was applied before it."""
        here = np.isfinite(reading)
        if self.told is not None:
            self.num_told = self.num_told + here
            new = np.maximum(1 / np.maximum(self.num_told, 1), law.MEMORY)
            self.known = np.where(here, self.known + new * (self.told[t] - self.known), self.known)
        self.num_read += here
        if t == 0:
            self.x = self.z = np.broadcast_to(reading, self.x.shape)
            self.xx = self._noise()[0]
        else:
            self.applied += last / self.unit
            self._update(here, reading)
        weight = np.exp(self.fit - self.fit.max(axis=0))
        weight /= weight.sum(axis=0)
        moved, doubt = self.within * self.g, self.within * np.sqrt(np.maximum(self.gg, 0.0))
        gain = 1 / np.maximum(np.maximum(moved, 0.0) + law.SPREAD * doubt, 1e-9)
        there, f = self._foreseen()
        correction = -(weight * gain * there).sum(axis=0)
        careful = np.where(correction < 0, np.minimum(self.num_read / law.CAREFUL, 1.0), 1.0)
        wanted = (weight * f).sum(axis=0) + careful * correction
        wrong = (weight * (moved + 2 * doubt)).sum(axis=0) < 0
        self.backwards = np.where(here, np.where(wrong, self.backwards + 1, 0.0), self.backwards)
        wanted = np.where(self.backwards >= law.BACKWARDS, 0.0, wanted)
        return self.unit * self._held(here, np.clip(wanted, self.low, self.high), t)

    def _held(self, here: Array, wanted: Array, t: int) -> Array:
        """The loop's share: without a reading the mean of the last ten commands that were not held."""
        num = np.maximum(np.isfinite(self.recent).sum(axis=0), 1)
        w = np.where(here, wanted, np.nansum(self.recent, axis=0) / num)
        shifted = np.concatenate([self.recent[1:], w[None]])
        self.recent = np.where(here, shifted, self.recent)
        self.missed = np.where(here, 0.0, self.missed + 1)
        self.applied = np.where(here, 0.0, self.applied)
        return w

    def _noise(self) -> tuple[Array, Array]:
        told = np.broadcast_to(self.known > 0, self.c0.shape)
        reading = np.where(told, self.known, -self.c1)
        reading = np.minimum(np.maximum(reading, self.least * self.c0), np.where(told, 1.0, 0.5) * self.c0)
        lively = np.maximum(self.c0 - 2 * reading, filters.LIVELY * self.c0)
        return reading, np.where(self.calm, filters.CALM_LEVEL * reading, lively)

    def _acting(self, ahead: int) -> Array:
        """The command that acts on each view ``ahead`` iterations from now; of those that were given, the last at most."""
        return self.commands[np.maximum(self.late - ahead, 0)[:, 0]]

    def _foreseen(self) -> tuple[Array, Array]:
        """ln of the reading when all commands have acted and h iterations passed, and f once they have."""
        x, f, push = self.x, self.f, self.pushes * self.g
        for ahead in range(1, filters.LATEST + 1):
            waits = ahead <= self.late
            then = self.kept * f + (1 - self.kept) * self._acting(ahead)
            x, f = np.where(waits, x + self.d + push * then, x), np.where(waits, then, f)
        return x + self.far * (self.d + push * f) + (self.g - push) * f, f

    def _predict(self, going: Array, w: Array, level: Array) -> Array:
        """One iteration where ``going``; what it adds to the reading that was expected."""

        def put(name: str, new: Array) -> None:
            setattr(self, name, np.where(going, new, getattr(self, name)))

        put("commands", np.concatenate([w[None], self.commands[:-1]]))
        put("f", self.kept * self.f + (1 - self.kept) * self._acting(0))
        row = self.pushes * self.f
        push = self.g * row
        put("x", self.x + self.d + push)
        put("xx", self.xx + 2 * (self.xd + row * (self.xg + self.dg)) + self.dd + row**2 * self.gg + level)
        put("xd", self.xd + self.dd + row * self.dg)
        put("xg", self.xg + self.dg + row * self.gg)
        for name, step, most in (
            ("dd", 2.5e-5 * np.maximum(self.d**2, push**2), self.most_dd),
            ("gg", 1e-4 * self.g**2, self.most_gg),
        ):
            now = getattr(self, name)
            put(name, np.where(now < most, np.minimum(now + step, most), now))
        return np.where(going, self.d + push, 0.0)

    def _update(self, here: Array, z: Array) -> None:
        reading, level = self._noise()
        steps = np.where(here, self.missed + 1, 0.0)
        shifts = 1 - self.pushes
        expected = self.z - shifts * self.g * self.f
        for step in range(int(steps.max())):
            expected = expected + self._predict(step < steps, self.applied / np.maximum(steps, 1), level)
        z = np.where(here, z, 0.0)
        row = shifts * self.f
        there = self.x + self.g * row
        innovation, surprise = z - there, z - expected - self.g * row
        ps = [self.xx + row * self.xg, self.xd + row * self.dg, self.xg + row * self.gg]
        spread, square = ps[0] + row * ps[2] + reading, innovation**2
        fit = filters.FORGETTING * self.fit - 0.5 * (
            np.log(spread) + np.minimum(square / spread, filters.JUMP)
        )
        self.fit = np.where(here, fit, self.fit)
        jumped = square > filters.JUMP * spread
        doubted, believed = here & jumped & ~self.suspect, here & ~(jumped & ~self.suspect)
        more = np.where(believed & jumped, square, 0.0)
        self.xx, spread = self.xx + more, spread + more
        ps[0] = ps[0] + more
        usual = believed & (self.missed == 0) & (surprise**2 <= filters.JUMP * self.c0)
        new = np.maximum(1 / (self.num + 1), 0.02)
        c0 = np.maximum((1 - new) * self.c0 + new * surprise**2, 1e-8)
        self.c1 = np.where(usual, (1 - new) * self.c1 + new * surprise * self.surprise, self.c1)
        self.c0 = np.where(usual, c0, self.c0)
        self.num = self.num + usual
        self.surprise = np.where(usual, surprise, np.where(here, 0.0, self.surprise))
        self.z = np.where(believed, z, np.where(doubted, there, self.z))
        self.suspect = np.where(here, doubted, self.suspect)
        ks = [np.where(believed, p / spread, 0.0) for p in ps]
        for i, state in enumerate("xdg"):
            setattr(self, state, getattr(self, state) + ks[i] * innovation)
            for j, other in list(enumerate("xdg"))[i:]:
                name = state + other
                setattr(self, name, getattr(self, name) - ks[i] * ps[j])
