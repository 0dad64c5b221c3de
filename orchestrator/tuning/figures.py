"""The pictures of a study: Optuna's own, in the page's colours, as plain Plotly dictionaries."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations
from typing import Any

from orchestrator.report.figures import TIME_SCALE
from orchestrator.tuning.foretold import Agreement
from orchestrator.tuning.parameters import (
    Together,
    by_importance,
    complete,
    target,
    together,
    too_few_is_an_error,
    toward_good,
)
from orchestrator.tuning.search import experiments_welcome
from orchestrator.tuning.space import labels

Figure = dict[str, Any]
"""``id``, ``title``, and either ``data`` and ``layout`` or ``missing``: the sentence in its place; maybe ``wide``."""

LARGEST_CONTOUR = 3
"""Parameters of a group whose pairs are drawn, each in a picture of its own."""

WIDE_RANGE = 20
"""Largest over smallest value from which a logarithmic axis shows more."""

_AXIS = {"gridcolor": "@grid", "linecolor": "@muted", "tickcolor": "@muted", "zerolinecolor": "@grid"}


def of_study(found: Any, names: tuple[str, ...], prefix: str) -> list[Figure]:
    """All pictures of one Optuna study; one that cannot be drawn says why."""
    from optuna import visualization

    if not complete(found):
        return [{"id": f"{prefix}-none", "title": "Trials", "missing": "No trial has finished."}]
    several = len(names) > 1
    groups = together(found)
    figures: list[Figure] = []
    for index, name in enumerate(names):
        what: dict[str, Any] = {"target": target(index)} if several else {}
        key = f"{prefix}-{index}"
        plot: Callable[..., Figure] = partial(_drawn, target_name=name, **what)
        history = plot(
            f"{key}-history", f"{name}: history", visualization.plot_optimization_history, found=found
        )
        figures.append(_over_decades(history))
        params = by_importance(found, index)
        if not params:
            continue
        title = f"{name}: which parameters matter"
        good = toward_good(found, index)
        figures.append(plot(f"{key}-importance", title, _importances, found=found, params=params, **good))
        title = f"{name}: over each parameter"
        slices = plot(f"{key}-slice", title, visualization.plot_slice, found=found, params=params)
        figures.append({**_over_decades(slices), "wide": True})
        for number, (title, study, pair) in enumerate(_pairs(found, groups, params)):
            contour = f"{key}-contour-{number}"
            figures.append(
                plot(contour, f"{name}: {title}", visualization.plot_contour, found=study, params=pair)
            )
    if len(names) in (2, 3):
        front = partial(_drawn, found=found, target_names=list(names))
        figures.append(front(f"{prefix}-pareto", "Pareto front", visualization.plot_pareto_front))
    elif not several and any(trial.intermediate_values for trial in found.get_trials(deepcopy=False)):
        title = f"{names[0]}: while they trained"
        figures.append(_drawn(f"{prefix}-course", title, visualization.plot_intermediate_values, found=found))
    return figures


def _pairs(
    found: Any, groups: Sequence[Together], ranked: Sequence[str]
) -> Iterator[tuple[str, Any, list[str]]]:
    """Title, trials and parameters of each contour: the pairs of a group's most important parameters."""
    names = labels({path: None for trial in found.get_trials(deepcopy=False) for path in trial.params})
    for group in groups:
        params = [name for name in ranked if name in group.params][:LARGEST_CONTOUR]
        for one, other in combinations(params, 2):
            where = f" where {group.where}" if group.where else ""
            yield f"{names[one]} × {names[other]}{where}", group.study, [one, other]


def of_agreement(result: Agreement) -> Figure:
    """Each trained candidate as a point: what the plant foretold, and what training found."""
    known = [pair for pair in result.pairs if pair.predicted == pair.predicted]
    title = "Foretold and found"
    if not known:
        return {"id": "agreement", "title": title, "missing": "No candidate was both simulated and trained."}
    data = []
    for chosen, name in ((True, "chosen by stage one"), (False, "suggested in stage two")):
        pairs = [pair for pair in known if pair.was_enqueued is chosen]
        if pairs:
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers+text",
                    "name": name,
                    "x": [pair.predicted for pair in pairs],
                    "y": [pair.found for pair in pairs],
                    "text": [str(pair.number) for pair in pairs],
                    "textposition": "top center",
                    "marker": {"size": 9, "color": "@arm0" if chosen else "@arm1"},
                }
            )
    layout = {
        "xaxis": {"title": {"text": f"{result.predicted.name} on the plant"}},
        "yaxis": {"title": {"text": f"{result.found.name} in training"}},
        "showlegend": True,
    }
    return {"id": "agreement", "title": title, "data": data, "layout": _house_style(layout)}


def _drawn(key: str, title: str, draw: Callable[..., Any], *, found: Any, **settings: Any) -> Figure:
    try:
        with experiments_welcome(), warnings.catch_warnings():
            # Hints to who calls Optuna, with paths of files.
            warnings.simplefilter("ignore", category=UserWarning)
            figure = json.loads(draw(found, **settings).to_json())
    except (ValueError, RuntimeError) as error:  # too few trials, or all of them the same
        return {"id": key, "title": title, "missing": f"Not drawn: {error}."}
    data = [trace for trace in figure["data"] if trace.get("x")]  # the others are keys of a legend
    if not data:
        return {"id": key, "title": title, "missing": "Nothing to draw yet."}
    data, layout = painted(data), _house_style(figure["layout"])
    return {"id": key, "title": title, **_named({"data": data, "layout": layout}, found)}


def _house_style(layout: Figure) -> Figure:
    """Transparent, in the page's own letters and greys; without Optuna's title, which stands above."""
    kept = {
        key: value for key, value in layout.items() if key not in ("template", "title", "width", "height")
    }
    for key, value in kept.items():
        if key.startswith(("xaxis", "yaxis")) and isinstance(value, dict):
            title = {"title": {"standoff": 8, **value["title"]}} if "title" in value else {}
            kept[key] = {**_AXIS, "automargin": True, **value, **title}
    return {
        "xaxis": dict(_AXIS),
        "yaxis": dict(_AXIS),
        **kept,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "@ink"},
        "margin": {"l": 60, "r": 20, "t": 20, "b": 60},
        "hoverlabel": {"bgcolor": "@paper", "bordercolor": "@grid", "font": {"color": "@ink"}},
    }


def painted(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Optuna's traces in the page's colours, which are light or dark; what is infeasible stands back."""
    traces = []
    for trace in data:
        marker, mode = dict(trace.get("marker") or {}), trace.get("mode", "markers")
        own: dict[str, Any] = {}
        if trace["type"] == "contour":
            own["colorscale"] = [[0.0, "@tint"], [1.0, "@arm0"]]
        elif trace["type"] == "bar":
            own["marker"] = {"color": "@arm0"}
        elif "lines" in mode and trace["name"] != "Best Value":  # a trial's course
            own |= {"line": {"color": "@arm0/0.45", "width": 1.5}, "marker": marker | {"color": "@arm0/0.7"}}
        elif "lines" in mode:
            own["line"] = {"color": "@arm1", "width": 2, "shape": "hv"}
        else:
            if "colorscale" in marker:
                best = "Best Trial" in str(trace.get("hovertemplate"))
                marker["colorscale"] = [[0.0, "@arm1"], [1.0, "@arm1"]] if best else TIME_SCALE
                marker["showscale"] = bool(marker.get("showscale")) and not best
            else:
                infeasible = marker.get("color") == "#cccccc"
                marker["color"] = "@muted/0.35" if infeasible else "@arm0"
            own["marker"] = marker | {"line": {"color": "@paper", "width": 0.5}}
        traces.append({**trace, **own})
    return traces


def _named(figure: Figure, found: Any) -> Figure:
    """With the shortest names of parameters, and an objective over decades on a logarithmic axis."""
    names = labels({path: None for trial in found.get_trials(deepcopy=False) for path in trial.params})
    layout = dict(figure["layout"])
    for key, axis in layout.items():
        if key.startswith(("xaxis", "yaxis")):
            title = (axis.get("title") or {}).get("text")
            if title in names:
                layout[key] = axis | {"title": {"text": names[title]}}
            elif title == "Hyperparameter":
                layout[key] = axis | {"title": {"text": ""}}
    data = [
        {**trace, "y": [names.get(y, y) for y in trace["y"]]} if trace["type"] == "bar" else trace
        for trace in figure["data"]
    ]
    return {"data": data, "layout": layout}


def _over_decades(figure: Figure) -> Figure:
    """The same with its values on a logarithmic axis, where they are positive and far apart."""
    if "missing" in figure:
        return figure
    values = [y for trace in figure["data"] for y in trace["y"] if y is not None]
    if not values or min(values) <= 0 or max(values) < WIDE_RANGE * min(values):
        return figure
    axes = {key: axis | {"type": "log"} for key, axis in figure["layout"].items() if key.startswith("yaxis")}
    return figure | {"layout": figure["layout"] | axes}


def _importances(found: Any, **settings: Any) -> Any:
    from optuna.visualization import plot_param_importances

    with too_few_is_an_error():
        return plot_param_importances(found, **settings)
