"""Identifies a plant from recordings in one call: checks, order, estimate, validation, second opinion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan

import numpy as np

from controllers.identification import checks
from controllers.identification.arx import Fit, Order, fit_arx
from controllers.identification.errors import IdentificationError, dither_advice
from controllers.identification.instrumental_variables import InstrumentCheck, instrument_check
from controllers.identification.recordings import Recording
from controllers.identification.selection import WHITE, Candidate, Criterion, chosen_order, order_candidates
from controllers.identification.validation import fit_share, free_run, input_test, ljung_box, prediction
from controllers.parts.coordinates import COORDINATES, Coordinates
from controllers.plants.plant import Plant

FAR = 10
"""Iterations ahead that a loop has to look, about one closed-loop time constant."""

DOUBT = 0.01
"""p-value of a test below which there is a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identification:
    """A plant and all that speaks for it or against it.

    The fits are 1 − rms error / standard deviation on recordings that the plant was not fitted to (1 perfect,
    0 the mean); the order was chosen with all of them.
    """

    plant: Plant
    """The estimate, with its covariance."""

    order: Order
    """Its size."""

    candidates: tuple[Candidate, ...]
    """Orders that were tried, lowest BIC first; empty where the order was given."""

    recordings: tuple[str, ...]
    """Names of the recordings."""

    held_out: str
    """What the fits were measured on."""

    one_step_fit: float
    """Fit of the next reading."""

    far_fit: float
    """Fit of the reading ten iterations ahead, later commands given."""

    free_run_fit: float
    """Fit of all readings from the commands alone.  A plant that integrates adds all noise up, and in closed
    loop the commands answer that very noise, so here a good model is often below 0."""

    whiteness_p: float
    """p-value of the residuals being independent (Ljung–Box)."""

    input_p: float
    """p-value of the residuals having nothing to do with past commands."""

    push_p: float
    """p-value of the command having no effect at all."""

    constancy_p: float
    """p-value of the first and the second half of the recordings being of one plant (Chow)."""

    condition: float
    """Condition number of the regressors; 1 is best."""

    dither_share: float
    """Share of the command's variance that is the dither's."""

    instruments: InstrumentCheck | None
    """Second opinion from the dither alone; None where there was none or it was too weak."""

    warnings: tuple[str, ...]
    """What to bear in mind, one sentence each."""


def identify(
    recordings: Sequence[Recording],
    *,
    coordinates: Coordinates = "log",
    max_order: int = 8,
    max_delay: int = 3,
    own_drift: bool = False,
    by: Criterion = "bic",
    order: Order | None = None,
) -> Identification:
    """The plant behind the recordings, or an `IdentificationError` that says what to record instead.

    ``own_drift`` gives every recording a drift of its own.  With ``order`` none is searched for.
    """
    if coordinates not in COORDINATES:
        raise ValueError(f"coordinates must be one of {', '.join(COORDINATES)}, got {coordinates!r}")
    recordings = tuple(recordings)
    checks.check_recordings(recordings, coordinates)
    share = checks.check_identifiable(recordings, coordinates)

    def fitted(tried: Order) -> Fit:
        return fit_arx(recordings, tried, coordinates=coordinates, own_drift=own_drift)

    candidates: list[Candidate] = []
    if order is None:
        candidates = order_candidates(
            recordings, coordinates=coordinates, max_order=max_order, max_delay=max_delay, own_drift=own_drift
        )
        if not candidates:
            raise IdentificationError(
                f"no order has ten rows for each parameter and regressors that are not collinear: "
                f"{dither_advice(checks.LEAST_ITERATIONS)}"
            )
        order = chosen_order(candidates, lambda tried: _whiteness(fitted(tried)), by)
    fit = fitted(order)
    checks.check_condition(fit)
    checks.check_one_plant(fit, recordings)
    checks.check_stable(fit.plant)
    checks.check_phase(fit.plant)
    held_out, (one_step, far, free) = _held_out_fits(recordings, fit)
    found = Identification(
        plant=fit.plant,
        order=order,
        candidates=tuple(candidates),
        recordings=tuple(recording.name for recording in recordings),
        held_out=held_out,
        one_step_fit=one_step,
        far_fit=far,
        free_run_fit=free,
        whiteness_p=_whiteness(fit),
        input_p=input_test(fit, recordings),
        push_p=_push_p(fit.plant),
        constancy_p=_constancy_p(fit),
        condition=fit.condition,
        dither_share=share,
        instruments=instrument_check(fit, recordings) if share >= checks.LEAST_DITHER_SHARE else None,
        warnings=(),
    )
    return replace(found, warnings=tuple(_warnings(found)))


def _held_out_fits(recordings: Sequence[Recording], fit: Fit) -> tuple[str, tuple[float, float, float]]:
    """Each recording by a plant of the others; of one recording, its last third by a plant of the rest."""
    pairs: list[tuple[list[Recording], Recording]]
    if len(recordings) > 1:
        told = "each recording by a plant of the others"
        pairs = [
            ([*recordings[:k], *recordings[k + 1 :]], recording) for k, recording in enumerate(recordings)
        ]
    else:
        told = "the last third of the recording"
        recording = recordings[0]
        cut = int(recording.times[2 * recording.times.size // 3])
        pairs = [([recording.before(cut)], recording.after(cut - fit.order.oldest))]
    fits = []
    for rest, held in pairs:
        try:
            plant = fit_arx(rest, fit.order, coordinates=fit.plant.coordinates, own_drift=fit.own_drift).plant
        except ValueError:  # what is left does not move enough for a plant of its own
            continue
        z = held.z(plant.coordinates, plant.level_nats)
        runs = (prediction(plant, held, 1), prediction(plant, held, FAR), free_run(plant, held))
        fits.append([fit_share(z, run) for run in runs])
    one_step, far, free = np.mean(fits, axis=0).tolist() if fits else (nan, nan, nan)
    return told, (one_step, far, free)


def _whiteness(fit: Fit) -> float:
    return ljung_box(fit.rows, fit.residuals, num_fitted=fit.order.na)


def _push_p(plant: Plant) -> float:
    """Wald test of all b being 0."""
    from scipy.stats import chi2

    na, nb = len(plant.a), len(plant.b)
    b = np.array(plant.b)
    block = np.array(plant.covariance)[na : na + nb, na : na + nb]
    return float(chi2.sf(b @ np.linalg.solve(block, b), nb))


def _constancy_p(fit: Fit) -> float:
    """Chow test of the earlier against the later half of every recording's rows."""
    rows = fit.rows
    later = np.zeros_like(rows.place)
    for index in np.unique(rows.recording):
        own = rows.recording == index
        later[own] = rows.place[own] > np.median(rows.place[own])
    return checks.chow_test(rows, later, fit.own_drift)


def _warnings(found: Identification) -> list[str]:
    plant, told = found.plant, []
    push, error = checks.lasting_push(plant)
    if found.push_p >= DOUBT:
        told.append(
            f"the command has no detectable effect (p = {found.push_p:.2g}): dither with a larger "
            f"amplitude, recording longer, or take an actuator that has authority here"
        )
    elif checks.sure_sign(push, error) == 0:
        told.append(
            f"a constant command has no detectable effect ({checks.described_push(plant)}): the "
            f"actuator's effect fades, so do not expect it to hold a target against drift"
        )
    if found.whiteness_p < WHITE:
        told.append(
            f"the residuals follow each other (Ljung–Box p = {found.whiteness_p:.2g}): standard errors are too "
            f"small; try a higher max_order (`--max-order`)"
        )
    if found.input_p < DOUBT:
        told.append(
            f"past commands explain some of the residuals (p = {found.input_p:.2g}): the model lacks an "
            f"effect of the command, such as a push that grows with entropy; try log coordinates, a higher "
            f"max_order (`--max-order`) or a smaller dither"
        )
    if found.constancy_p < checks.DIFFERENT:
        told.append(
            f"the second half of the recordings has another plant than the first (Chow p = {found.constancy_p:.2g}): "
            f"leave out the transient (`--skip N`), or let the loop follow (`law: auto`, gain scheduling)"
        )
    if found.instruments is None:
        told.append("no dither moved the regressors enough for a second opinion on closed-loop bias")
    elif found.instruments.p_value < DOUBT:
        told.append(
            f"the dither alone gives another plant (Hausman p = {found.instruments.p_value:.2g}, the push "
            f"{found.instruments.push_difference:+.1f} standard errors away): noise that feedback carries into "
            f"the command biases the estimate; try a higher max_order (`--max-order`)"
        )
    return told
