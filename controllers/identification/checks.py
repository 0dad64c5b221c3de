"""Conditions on recordings and estimates for a useful plant; each refusal names the remedy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from controllers.identification.arx import Fit, Order
from controllers.identification.errors import IdentificationError, dither_advice
from controllers.identification.recordings import Array, Recording, mean_level
from controllers.identification.regression import Rows, rows_of, solve
from controllers.parts.coordinates import Coordinates
from controllers.plants.plant import Plant

LEAST_ITERATIONS = 200
"""What advice asks for: two such runs of a tiny policy gave the push to a tenth."""

LEAST_ROWS = 40
"""Below this not even the smallest model is worth its standard errors."""

LEAST_DITHER_SHARE = 0.02
"""Share of the command's variance below which a dither is as good as none."""

LEAST_OWN_SHARE = 0.01
"""Share of the command's variance that past readings and commands must leave open where there is no dither."""

LARGEST_CONDITION = 1e6
"""Condition number of the regressors from which on they count as collinear."""

DIFFERENT = 0.001
"""p-value of the Chow test below which recordings are of different plants."""

SIGNIFICANT = 3.0
"""Standard errors from which on a sign or a pole is taken for a fact."""


def check_recordings(recordings: Sequence[Recording], coordinates: Coordinates) -> None:
    """Refuse recordings that hold too little, or whose command never moved."""
    if not recordings:
        raise IdentificationError(
            "identification needs one recording at least, got none: name runs that have ended"
        )
    for recording in recordings:
        if not np.isfinite(recording.y).any():
            raise IdentificationError(f"{recording.name} has no finite reading: leave it out")
    rows = _lagged(recordings, coordinates)
    num = rows.target.size
    if num < LEAST_ROWS:
        raise IdentificationError(
            f"identification needs {LEAST_ROWS} iterations with a reading, a command and their past, "
            f"got {num}: {dither_advice(LEAST_ITERATIONS)}"
        )
    moves = [float(np.nanstd(recording.u)) for recording in recordings]
    sizes = [float(np.nanmax(np.abs(recording.u))) for recording in recordings]
    if max(moves) <= 1e-9 * max(sizes) or max(sizes) == 0:
        raise IdentificationError(
            f"the command never moved (it was {recordings[0].u[np.isfinite(recordings[0].u)][0]:.4g} throughout), "
            f"so nothing shows what it does: {dither_advice(LEAST_ITERATIONS)}"
        )


def check_identifiable(recordings: Sequence[Recording], coordinates: Coordinates) -> float:
    """Refuse a command that is all feedback; give the share of its variance that the dither makes.

    Without dither u is a linear function of past z and u (any PID is one of a few of them), every model
    plus a multiple of the law explains the recording as well, and none is the plant.
    """
    share = dither_share(recordings)
    if share >= LEAST_DITHER_SHARE:
        return share
    rows = _lagged(recordings, coordinates)
    command = np.array([recordings[k].u[place] for k, place in zip(rows.recording, rows.place, strict=True)])
    there = np.flatnonzero(np.isfinite(command))
    rows, command = rows.chosen(there), command[there]
    by_recording = rows.design(own_drift=True)
    spread = solve(by_recording[:, rows.slopes.shape[1] :], command).sum_of_squares
    left = solve(by_recording, command).sum_of_squares / spread
    if left < LEAST_OWN_SHARE:
        raise IdentificationError(
            f"the plant is not identifiable: past readings and commands explain {100 * (1 - left):.2f} % of the "
            f"command and a known dither {100 * share:.2f} %, so feedback cannot be separated from the plant: "
            f"{dither_advice(LEAST_ITERATIONS)}"
        )
    return share


def check_condition(fit: Fit) -> None:
    """Refuse regressors so nearly collinear that the estimate is the rounding's."""
    if not fit.condition <= LARGEST_CONDITION:
        raise IdentificationError(
            f"the plant is not identifiable: the regressors of {fit.order} are collinear (condition number "
            f"{fit.condition:.1e}, at most {LARGEST_CONDITION:.0e}): {dither_advice(LEAST_ITERATIONS)}"
        )


def check_one_plant(fit: Fit, recordings: Sequence[Recording]) -> None:
    """Refuse recordings that no single plant explains: pooled against separate fits, and who goes with whom."""
    if len(recordings) < 2 or not chow_test(fit.rows, fit.rows.recording, fit.own_drift) < DIFFERENT:
        return
    groups: list[list[int]] = []
    for index in np.unique(fit.rows.recording).tolist():
        for group in groups:
            together = fit.rows.chosen(np.flatnonzero(np.isin(fit.rows.recording, [*group, index])))
            if not chow_test(together, together.recording, fit.own_drift) < DIFFERENT:
                group.append(index)
                break
        else:
            groups.append([index])
    if len(groups) < 2:
        return
    told = " | ".join(", ".join(recordings[index].name for index in group) for group in groups)
    raise IdentificationError(
        f"the recordings are of different plants (Chow test below {DIFFERENT}), in groups {told}: identify each "
        f"group by itself, or leave out the part that differs, such as the transient of the start (`--skip N`) or a "
        f"collapse"
    )


def check_stable(plant: Plant) -> None:
    """Refuse a pole that is outside of the unit circle by more than its uncertainty."""
    size, error = dominant_pole(plant)
    if size - 1 > SIGNIFICANT * error:
        raise IdentificationError(
            f"the estimate is unstable: its largest pole is {size:.4f} ± {error:.4f}, beyond 1, because of a transient "
            f"or a collapse in the recording: leave out the iterations before entropy has settled "
            f"(`--skip N`; `Recording.after`), or run longer at a lower learning rate"
        )


def check_phase(plant: Plant) -> None:
    """Refuse a command that lowers entropy, or that first does the opposite of what it does in the end."""
    first, last = sure_sign(plant.b[0], plant.standard_errors[len(plant.a)]), sure_sign(*lasting_push(plant))
    if last < 0:
        raise IdentificationError(
            f"the command lowers entropy ({described_push(plant)}), but a rising command must raise it: turn "
            f"the actuator's sign, or identify where it acts as it should"
        )
    if first * last < 0:
        raise IdentificationError(
            f"the estimate is non-minimum-phase: the first push has the wrong sign (b = {plant.b[0]:.3g} ± "
            f"{plant.standard_errors[len(plant.a)]:.2g} after {plant.delay} iterations, but {described_push(plant)}): "
            f"give the loop a period of {plant.delay + len(plant.b)} iterations, so that it acts on the lasting "
            f"effect, or take another actuator"
        )


def dither_share(recordings: Sequence[Recording]) -> float:
    """Squared correlation of command and dither, over all recordings, each about its own mean."""
    commands, dithers = [], []
    for recording in recordings:
        there = np.isfinite(recording.u)
        if there.any():
            commands.append(recording.u[there] - recording.u[there].mean())
            dithers.append(recording.known_dither[there] - recording.known_dither[there].mean())
    u, d = np.concatenate(commands), np.concatenate(dithers)
    power = float(u @ u) * float(d @ d)
    return float(u @ d) ** 2 / power if power > 0 else 0.0


def chow_test(rows: Rows, label: NDArray[np.int64], own_drift: bool) -> float:
    """p-value of rows with different labels being of one plant (Chow, Econometrica 28, 1960).

    F = [(S − Σ S_k) / (p_separate − p)] / [Σ S_k / (n − p_separate)] with S the sums of squares of the fit
    to all rows and of a fit to each label; nan where a label has too few rows for a fit of its own.
    """
    from scipy.stats import f

    pooled = solve(rows.design(own_drift), rows.target)
    left, rank = 0.0, 0
    for value in np.unique(label):
        part = rows.chosen(np.flatnonzero(label == value))
        phi = part.design(own_drift)
        if part.target.size < 2 * phi.shape[1]:
            return float("nan")
        alone = solve(phi, part.target)
        left, rank = left + alone.sum_of_squares, rank + alone.rank
    more, rest = rank - pooled.rank, rows.target.size - rank
    if more <= 0 or left <= 0:
        return float("nan")
    return float(f.sf((pooled.sum_of_squares - left) / more / (left / rest), more, rest))


def lasting_push(plant: Plant) -> tuple[float, float]:
    """Slope of z under a unit of command that stays, and its standard error by the delta method.

    slope = Σ_j b_j / Σ_i i·a_i   [unit of z per actuator's unit per iteration]

    On a plant that integrates, a ramp has z_t − z_{t−i} = i·slope, which gives the equation.  Σ b alone is
    several times as much where noise of the readings is modelled by further a.  A plant with natural
    regulation begins with about this slope and ends at `Plant.static_gain`; one without memory has Σ b.
    """
    a, b = np.array(plant.a), np.array(plant.b)
    ages = np.arange(1.0, a.size + 1)
    length = float(ages @ a) if a.size else 1.0
    slope = float(b.sum()) / length
    if not plant.covariance:
        return slope, 0.0
    gradient = np.concatenate([-slope / length * ages, np.full(b.size, 1 / length)])
    block = np.array(plant.covariance)[:-1, :-1]
    return slope, float(np.sqrt(gradient @ block @ gradient))


def described_push(plant: Plant) -> str:
    """``lasting_push`` in words."""
    slope, error = lasting_push(plant)
    return f"a constant unit of command moves z by {slope:.3g} ± {error:.2g} an iteration"


def dominant_pole(plant: Plant) -> tuple[float, float]:
    """Size of the largest pole and its standard error by the delta method: ∂p / ∂a_i = p^{n−i} / P′(p)."""
    if not plant.a:
        return 0.0, 0.0
    n, pole = len(plant.a), plant.poles[0]
    slope = np.polyval(np.polyder(np.array([1.0, *(-value for value in plant.a)])), pole)
    if abs(slope) < 1e-12 or abs(pole) == 0:
        return float(abs(pole)), float("inf")  # a double pole: no first order
    gradient: Array = np.real(np.conj(pole) * pole ** np.arange(n - 1, -1, -1) / slope) / abs(pole)
    if not plant.covariance:
        return float(abs(pole)), 0.0
    block = np.array(plant.covariance)[:n, :n]
    return float(abs(pole)), float(np.sqrt(gradient @ block @ gradient))


def sure_sign(value: float, error: float) -> int:
    """−1 or 1 where the sign is beyond doubt, else 0."""
    return int(np.sign(value)) if abs(value) > SIGNIFICANT * error else 0


def _lagged(recordings: Sequence[Recording], coordinates: Coordinates) -> Rows:
    """Past readings and commands as a PID with a filter would use them, with z at the same age."""
    order = Order(na=3, nb=3, delay=1)
    return rows_of(
        recordings,
        z_lags=[0, *order.z_lags],
        u_lags=order.u_lags,
        coordinates=coordinates,
        level_nats=mean_level(list(recordings)),
    )
