"""The style that all plots share: plain Plotly dictionaries, with colours that the page fills in.

A colour is a token such as "@arm0", "@ink" or "@arm1/0.2" (with opacity), which the page's script
replaces by the light or the dark palette.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.comparison import Curve
from orchestrator.storage.run_data import Array

NUM_COLOURS = 8
SMOOTHING = 5  # iterations


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One plot of the page, or the sentence that stands in its place."""

    id: str
    title: str
    unit: str
    data: list[dict[str, Any]] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)
    arms: tuple[str, ...] = ()
    """Arms that the legend above the plot names."""
    owner: str = ""
    """The arm that the whole plot is about; "" where it is about several."""
    missing: str = ""


def colour_index(names: Sequence[str], name: str) -> int:
    """The index of an arm's colour in the palette, the same everywhere."""
    return names.index(name) % NUM_COLOURS


def styled(figure: Figure, *, missing: str) -> Figure:
    """The figure in the page's style, or without data the sentence for its place."""
    if not any(trace["x"] for trace in figure.data):
        return Figure(id=figure.id, title=figure.title, unit=figure.unit, missing=missing)
    return replace(figure, layout=_layout(figure.layout))


def _layout(special: dict[str, Any]) -> dict[str, Any]:
    axis = {
        "gridcolor": "@grid",
        "zeroline": False,
        "linecolor": "@muted",
        "tickcolor": "@muted",
        "ticks": "outside",
        "ticklen": 4,
        "automargin": True,
        "fixedrange": True,
    }
    layout = {
        "margin": {"l": 46, "r": 12, "t": 10, "b": 44},
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "@ink"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "x unified",
        "hoverlabel": {"bgcolor": "@paper", "bordercolor": "@grid", "font": {"color": "@ink"}},
        "showlegend": False,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)"},
        **{key: value for key, value in special.items() if not key.endswith("axis")},
    }
    layout["xaxis"] = {
        **axis,
        "title": {"text": "iteration", "standoff": 8},
        "showgrid": False,
        **special.get("xaxis", {}),
    }
    layout["yaxis"] = {**axis, "showline": False, "ticks": "", **special.get("yaxis", {})}
    return layout


def line(
    values: Curve,
    shade: str,
    name: str,
    *,
    dash: str = "solid",
    width: float = 2.0,
    markers: str = "",
    band: bool = True,
    legend: bool = False,
    arms: Sequence[int] = (),
) -> list[dict[str, Any]]:
    """Mean over seeds, over the band of its 95 % interval where there are several.

    ``arms`` are the numbers of those that it is of: the page hides it with them, and a click opens theirs.
    """
    if not values.steps.size:
        return []
    traces: list[dict[str, Any]] = []
    if band and values.num_seeds > 1:
        traces.append(
            {
                "x": [*values.steps.tolist(), *values.steps[::-1].tolist()],
                "y": [*numbers(values.high), *numbers(values.low[::-1])],
                "type": "scatter",
                "mode": "lines",
                "fill": "toself",
                "fillcolor": f"{shade}/0.16",
                "line": {"width": 0},
                "hoverinfo": "skip",
                "showlegend": False,
                "meta": list(arms),
            }
        )
    trace = {
        "x": values.steps.tolist(),
        "y": numbers(values.mean),
        "type": "scatter",
        "mode": "lines+markers" if markers else "lines",
        "name": html.escape(name),  # Plotly reads tags in names
        "line": {"color": shade, "width": width, "dash": dash},
        "hovertemplate": "%{y:.3f}",
        "showlegend": legend,
        "meta": list(arms),
    }
    if markers:
        trace["marker"] = {"symbol": markers, "size": 7, "color": shade}
    return [*traces, trace]


def smooth(values: Array) -> Array:
    """Centred moving average, shorter at the ends."""
    if values.size < SMOOTHING:
        return values
    window = np.ones(SMOOTHING)
    return np.convolve(values, window, "same") / np.convolve(np.ones(values.size), window, "same")


def padded(values: Array) -> list[float]:
    """Range of the values with 6 % of room."""
    low, high = float(values.min()), float(values.max())
    room = 0.06 * (high - low) or 0.1
    return [low - room, high + room]


def numbers(values: Array) -> list[float]:
    """Five significant digits are more than a screen shows, and half the file."""
    return [float(f"{value:.5g}") for value in values.tolist()]


def thinned(size: int, most: int) -> NDArray[np.int64]:
    """Indices of at most ``most`` of so many points, evenly spaced, the ends among them."""
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(np.int64))
