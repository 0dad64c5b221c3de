"""Pictures of a designed loop and of a prediction, as PNG files by python-control and matplotlib."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from controllers.design.transfer import multiply
from orchestrator.engineering.curves import Analysis, Array, answers, frequencies, horizon, stable_gains
from orchestrator.engineering.prediction import Prediction

MS_LEVELS = (1.4, 2.0)
DPI = 120


def design_pictures(analysis: Analysis) -> dict[str, bytes]:
    """PNG files by name: Bode with margins, Nyquist with the Ms circle, steps, stable gains."""
    draw: dict[str, Callable[[Any, Analysis], Any]] = {
        "bode": _bode,
        "nyquist": _nyquist,
        "steps": _steps,
        "stability": _stability,
    }
    return {name: _png(picture, analysis) for name, picture in draw.items()}


def prediction_picture(
    prediction: Prediction, title: str, changes: tuple[int, ...] = (), runs: Sequence[Array] = ()
) -> bytes:
    """PNG of entropy and command: median and band, the reference dashed, a change of plant dotted.

    ``runs`` are readings that the prediction is compared with: thin black lines over it.
    """

    def draw(pyplot: Any, shown: Prediction) -> Any:
        figure, axes = pyplot.subplots(2, 1, sharex=True, figsize=(8, 6), layout="constrained")
        for axis, signal, colour, label in (
            (axes[0], shown.y, "C0", "entropy [nats/token]"),
            (axes[1], shown.u, "C1", "command [actuator's unit]"),
        ):
            low, median, high = shown.quantiles(signal)
            t = np.arange(median.size)
            axis.fill_between(t, low, high, color=colour, alpha=0.2, label="5 to 95 %")
            axis.plot(t, median, color=colour, label="median")
            axis.set_ylabel(label)
            for at in changes:
                axis.axvline(at, color="black", linestyle=":", linewidth=1)
        for number, run in enumerate(runs):
            named = "" if number else f"{len(runs)} runs"
            axes[0].plot(run[: shown.y.shape[1]], color="black", linewidth=0.6, alpha=0.7, label=named)
        reference = np.median(shown.r, axis=0)
        if np.isfinite(reference).any():
            axes[0].plot(reference, color="black", linestyle="--", linewidth=1, label="setpoint")
        axes[0].legend()
        axes[1].set_xlabel("iteration")
        figure.suptitle(title)
        return figure

    return _png(draw, prediction)


def identification_picture(title: str, panels: list[tuple[str, Array, Array, Array]]) -> bytes:
    """PNG: for each run its measurement, and what the plant had said of it ten iterations before."""

    def draw(pyplot: Any, _: object) -> Any:
        height = 1 + 2.2 * len(panels)
        figure, axes = pyplot.subplots(
            len(panels), 1, sharex=True, squeeze=False, figsize=(8, height), layout="constrained"
        )
        for axis, (name, iterations, measured, predicted) in zip(axes[:, 0], panels, strict=True):
            axis.plot(iterations, measured, color="0.6", linewidth=1, label="measured")
            axis.plot(iterations, predicted, color="C0", label="plant, ten iterations ahead")
            axis.set_ylabel(f"{name}\n[nats/token]")
        axes[0, 0].legend()
        axes[-1, 0].set_xlabel("iteration")
        figure.suptitle(title)
        return figure

    return _png(draw, None)


def _png(draw: Callable[[Any, Any], Any], content: object) -> bytes:
    """Draw without a display, and leave nothing open."""
    import matplotlib  # half a second

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure = draw(pyplot, content)
    try:
        buffer = io.BytesIO()
        # No date in the file: the same design gives the same bytes.
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": "entrostat"})
        return buffer.getvalue()
    finally:
        pyplot.close(figure)


def _open_loop(analysis: Analysis) -> Any:
    """L as python-control's transfer function, one iteration a step."""
    import control  # a second, and it brings matplotlib

    loop = analysis.loop
    numerator = multiply(loop.push, loop.law_numerator)
    denominator = multiply(loop.memory, loop.law_denominator)
    size = max(numerator.size, denominator.size)
    padded = [np.pad(p, (0, size - p.size)) for p in (numerator, denominator)]
    while padded[0].size > 1 and padded[0][-1] == padded[1][-1] == 0:  # a common factor z
        padded = [p[:-1] for p in padded]
    return control.tf(*padded, 1.0, name="L")


def _bode(pyplot: Any, analysis: Analysis) -> Any:
    import control

    figure, axes = pyplot.subplots(2, 1, figsize=(8, 6), layout="constrained")
    omega = np.geomspace(1e-3, np.pi * 0.999, 500)
    # python-control wants its axes as a column; its own gain margin misses the crossing at π
    control.bode_plot(_open_loop(analysis), omega, display_margins=True, ax=axes.reshape(2, 1), title="")
    axes[0].set_title("")
    axes[1].set_xlabel("frequency [radians an iteration]")
    margins = analysis.margins
    figure.suptitle(
        f"Open loop: gain margin {margins.gain_margin:.2f}, phase margin {margins.phase_margin_degrees:.0f}°, "
        f"delay margin {margins.delay_margin:.1f} iterations"
    )
    return figure


def _nyquist(pyplot: Any, analysis: Analysis) -> Any:
    import control

    figure, axis = pyplot.subplots(figsize=(6, 6), layout="constrained")
    ms = round(analysis.margins.ms, 2)
    curve = frequencies(analysis).transfer
    omega = np.geomspace(1e-3, np.pi * 0.999, 1000)
    control.nyquist_plot(
        _open_loop(analysis),
        omega,
        ms_circles=[ms],
        unit_circle=True,
        ax=axis,
        title="",
        warn_encirclements=False,
    )
    # A plant that integrates leaves for infinity; what counts is the neighbourhood of −1.
    near = curve[np.abs(curve) < 3]
    reach = 1.1 * max(1.5, float(np.abs(near.imag).max(initial=0.0)))
    axis.set_xlim(-reach - 0.8, reach - 0.8)
    axis.set_ylim(-reach, reach)
    axis.set_aspect("equal")
    figure.suptitle(f"Nyquist curve and circle of Ms = {ms:.2f}")
    return figure


def _steps(pyplot: Any, analysis: Analysis) -> Any:
    figure, (upper, lower) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 6), layout="constrained")
    shown = answers(analysis, horizon(analysis))
    t = np.arange(shown.reference.size)
    upper.step(t, shown.reference, where="post", color="C0")
    upper.axhline(1, color="black", linestyle="--", linewidth=1)
    upper.set_ylabel("step of the setpoint:\nshare of the step")
    lower.step(t, shown.disturbance_percent, where="post", color="C1")
    lower.axhline(0, color="black", linestyle="--", linewidth=1)
    lower.set_ylabel("pull of 1 % an iteration:\nentropy [% of its level]")
    lower.set_xlabel("iteration")
    figure.suptitle("Answers without noise and limits")
    return figure


def _stability(pyplot: Any, analysis: Analysis) -> Any:
    figure, axis = pyplot.subplots(figsize=(7, 6), layout="constrained")
    found = stable_gains(analysis)
    kp, ki, _ = analysis.gains_in_z
    axis.contourf(found.kp, found.ki, found.radius.T, levels=[0, 1], colors=["C0"], alpha=0.15)
    axis.contour(found.kp, found.ki, found.radius.T, levels=[1], colors=["C0"])
    peaks = np.minimum(found.ms.T, 1e3)
    lines = axis.contour(found.kp, found.ki, peaks, levels=list(MS_LEVELS), colors=["C1", "C2"])
    axis.clabel(lines, fmt=lambda level: f"Ms {level:g}")
    axis.plot(kp, ki, marker="o", color="black", linestyle="none", label="design")
    axis.set_xlabel("kp [command per unit of z]")
    axis.set_ylabel("ki [command per unit of z per iteration]")
    axis.set_xlim(left=found.kp[0])  # where the map begins: gains of 0 are not on it
    axis.set_ylim(bottom=found.ki[0])
    axis.legend(loc="upper right")
    figure.suptitle("Stable gains (shaded)")
    return figure
