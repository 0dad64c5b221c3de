"""The pictures of a study: Optuna's own, in the page's colours, as plain Plotly dictionaries."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any

from orchestrator.report.figures import TIME_SCALE
from orchestrator.tuning.candidates import is_feasible
from orchestrator.tuning.foretold import Agreement
from orchestrator.tuning.search import experiments_welcome
from orchestrator.tuning.space import labels

Figure = dict[str, Any]
"""``id``, ``title``, and either ``data`` and ``layout`` or ``missing``: the sentence in its place; maybe ``wide``."""

LARGEST_CONTOUR = 4
"""Parameters whose pairs are drawn against each other."""

MOST_IN_CONTOUR = 100
FEWEST_IN_CONTOUR = 3

WIDE_RANGE = 20
"""Largest over smallest value from which a logarithmic axis shows more."""

_AXIS = {"gridcolor": "@grid", "linecolor": "@muted", "tickcolor": "@muted", "zerolinecolor": "@grid"}


def of_study(found: Any, names: tuple[str, ...], prefix: str) -> list[Figure]:
    """All pictures of one Optuna study; one that cannot be drawn says why."""
    from optuna import visualization

    complete = [trial for trial in found.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    if not complete:
        return [{"id": f"{prefix}-none", "title": "Trials", "missing": "No trial has finished."}]
    params = _important(found)
    several = len(names) > 1
    figures: list[Figure] = []
    for index, name in enumerate(names):
        what: dict[str, Any] = {"target": _target(index)} if several else {}
        key = f"{prefix}-{index}"
        plot: Callable[..., Figure] = partial(_drawn, found=found, target_name=name, **what)
        history = plot(f"{key}-history", f"{name}: history", visualization.plot_optimization_history)
        figures.append(_over_decades(history))
        title = f"{name}: which parameters matter"
        figures.append(plot(f"{key}-importance", title, _importances, **_toward_good(found, index, several)))
        title = f"{name}: over each parameter"
        slices = plot(f"{key}-slice", title, visualization.plot_slice, params=params)
        figures.append({**_over_decades(slices), "wide": True})
        if len(params) > 1 and len(complete) >= FEWEST_IN_CONTOUR:
            pairs = params[:LARGEST_CONTOUR]
            title = f"{name}: over pairs of parameters"
            figures.append(
                plot(f"{key}-contour", title, visualization.plot_contour, params=pairs, found=_thinned(found))
            )
    if len(names) in (2, 3):
        front = partial(_drawn, found=found, target_names=list(names))
        figures.append(front(f"{prefix}-pareto", "Pareto front", visualization.plot_pareto_front))
    elif not several and any(trial.intermediate_values for trial in found.get_trials(deepcopy=False)):
        title = f"{names[0]}: while they trained"
        figures.append(_drawn(f"{prefix}-course", title, visualization.plot_intermediate_values, found=found))
    return figures


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
        with experiments_welcome():
            figure = json.loads(draw(found, **settings).to_json())
    except (ValueError, RuntimeError, UserWarning) as error:  # too few trials, or all of them the same
        return {"id": key, "title": title, "missing": f"Not drawn: {error}"}
    if not figure["data"]:
        return {"id": key, "title": title, "missing": "Nothing to draw yet."}
    data, layout = painted(figure["data"]), _house_style(figure["layout"])
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


def _important(found: Any) -> list[str]:
    """The parameters, the most important first where that can be told."""
    names: list[str] = []
    for trial in found.get_trials(deepcopy=False):
        names += [name for name in trial.params if name not in names]
    if len(found.directions) > 1:
        return names
    from optuna.importance import get_param_importances

    try:
        with experiments_welcome(), _too_few_is_an_error():
            ranked = list(get_param_importances(found))
    except (ValueError, RuntimeError, UserWarning):
        ranked = []
    return [*ranked, *(name for name in names if name not in ranked)]


def _thinned(found: Any) -> Any:
    """The same with fewer trials, feasible ones where there are enough: a contour has a cell for each pair.

    They are drawn by chance: every n-th of Sobol's points would all lie in one part of the space.
    """
    import optuna

    complete = found.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(complete) <= MOST_IN_CONTOUR:
        return found
    feasible = [trial for trial in complete if is_feasible(trial)]
    shown = feasible if len(feasible) >= MOST_IN_CONTOUR // 2 else complete
    thinned = optuna.create_study(directions=found.directions)
    thinned.add_trials(Random(0).sample(shown, min(MOST_IN_CONTOUR, len(shown))))
    return thinned


def _target(index: int, sign: float = 1.0) -> Callable[[Any], float]:
    return lambda trial: sign * float(trial.values[index])


def _toward_good(found: Any, index: int, several: bool) -> dict[str, Any]:
    """Importance is for reaching low values, so what is maximised changes its sign."""
    if not several:
        return {}
    return {"target": _target(index, -1.0 if found.directions[index].name == "MAXIMIZE" else 1.0)}


def _importances(found: Any, **settings: Any) -> Any:
    from optuna.visualization import plot_param_importances

    with _too_few_is_an_error():
        warnings.filterwarnings("ignore", message="PedAnova", category=UserWarning)  # see `_toward_good`
        return plot_param_importances(found, **settings)


@contextmanager
def _too_few_is_an_error() -> Iterator[None]:
    """Of too few trials Optuna calls all parameters equally important, which is no finding."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="The number of trials is too small", category=UserWarning)
        yield
