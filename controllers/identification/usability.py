"""Whether what was found of an actuator can be used, and why; of a plant, or of what a law has learnt of its effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

from controllers.identification.checks import DIFFERENT, SIGNIFICANT, lasting_push, sure_sign
from controllers.identification.identify import DOUBT, Identification


@dataclass(frozen=True, slots=True, kw_only=True)
class Usability:
    """Yes or no, and why."""

    usable: bool
    why: str

    def __str__(self) -> str:
        return f"{'yes' if self.usable else 'no'}: {self.why}"


def usable_plant(found: Identification, low: float, high: float) -> Usability:
    """Whether a design, or a loop with commands in [low, high], can build on the plant; the first reason if not.

    A plant that `identify` refuses has its reason there.  Here it must have an effect that lasts, the dither alone
    must give the same, both halves of the records must, and the command that holds the level must be inside.
    """
    plant = found.plant
    push, error = lasting_push(plant)
    described = f"a constant unit of command moves entropy by {push:.3g} ± {error:.2g} an iteration"
    if found.push_p >= DOUBT:
        return Usability(
            usable=False, why=f"the command has no detectable effect at all (p = {found.push_p:.2g})"
        )
    if sure_sign(push, error) <= 0:
        return Usability(
            usable=False, why=f"{described}, less than {SIGNIFICANT:g} standard errors above nothing"
        )
    if found.constancy_p < DIFFERENT:
        return Usability(
            usable=False,
            why=f"the records' second half has another plant than the first (p = {found.constancy_p:.2g})",
        )
    if found.instruments is not None and found.instruments.p_value < DOUBT:
        return Usability(
            usable=False, why=f"the dither alone gives another plant (p = {found.instruments.p_value:.2g})"
        )
    holding = plant.holding_command(plant.level_nats)
    if isfinite(holding) and not low <= holding <= high:
        return Usability(
            usable=False,
            why=f"a command of {holding:.3g} would hold {plant.level_nats:.3g} nats/token, and the limits are "
            f"[{low:g}, {high:g}]",
        )
    return Usability(
        usable=True,
        why=f"{described}, {push / error:.0f} standard errors, and a command of {holding:.3g} holds "
        f"{plant.level_nats:.3g} nats/token",
    )


def usable_effect(push: tuple[float, float], shift: tuple[float, float]) -> Usability:
    """The same of a full command's push [ln nats an iteration] and shift at once [ln nats], each with its error."""
    said = {
        "pushes entropy by {:.1f} ± {:.1f} % an iteration": push,
        "shifts it by {:.0f} ± {:.0f} % at once": shift,
    }
    sure = {text: sure_sign(*effect) for text, effect in said.items()}
    texts = {text: text.format(*(100 * value for value in effect)) for text, effect in said.items()}
    for text, sign in sure.items():
        if sign < 0:
            return Usability(usable=False, why=f"the full command {texts[text]}: it acts backwards")
    found = [texts[text] for text, sign in sure.items() if sign > 0]
    if found:
        return Usability(usable=True, why=f"the full command {' and '.join(found)}")
    return Usability(
        usable=False,
        why=f"the full command {' and '.join(texts.values())}: neither is {SIGNIFICANT:g} standard errors above nothing",
    )


def pooled(values: Sequence[float], errors: Sequence[float]) -> tuple[float, float]:
    """Mean of independent estimates weighed by 1/error², and its error: the larger of what they say and how they scatter.

        error² = max(1, χ² / (n − 1)) / Σ 1/error²          (Birge, Physical Review 40:207, 1932)

    Raises:
        ValueError: there is none, or an error is not above 0.
    """
    if not values or any(not error > 0 for error in errors):
        raise ValueError(f"estimates must each have an error above 0, got {list(errors)}")
    weights = [1.0 / error**2 for error in errors]
    mean = sum(w * value for w, value in zip(weights, values, strict=True)) / sum(weights)
    chi2 = sum(w * (value - mean) ** 2 for w, value in zip(weights, values, strict=True))
    spread = max(1.0, chi2 / (len(values) - 1)) if len(values) > 1 else 1.0
    return mean, sqrt(spread / sum(weights))
