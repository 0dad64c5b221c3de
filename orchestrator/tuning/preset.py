"""The winner of a study as a method preset, which a campaign takes as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.configuration.errors import ConfigError
from orchestrator.configuration.method_file import MethodConfig
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.parts import to_plain
from orchestrator.configuration.resolve import OF_METHODS, parse
from orchestrator.engineering.plant_file import yaml_text
from orchestrator.masking import masked
from orchestrator.tuning.candidates import ranked_trials
from orchestrator.tuning.space import dotted
from orchestrator.tuning.study import Study

HEADER = "A method preset, written by `entrostat tune --best`.  In a campaign:"
OF_THE_ARM = ("task", "phases")
"""What an arm can say and a method cannot."""


def winner(study: Study, found: Any, simulated: Any, number: int | None = None) -> tuple[Any, bool]:
    """The best trial, and whether it was trained; with ``number`` that trial of the last stage there is.

    The best is the best feasible one; of several objectives one that nothing dominates, by the first of them.

    Raises:
        ConfigError: nothing has finished, the best violates a constraint, or there is no such trial.
    """
    trained = ranked_trials(found, study.objectives)
    ranked = trained or (
        ranked_trials(simulated, study.simulated_objectives) if simulated is not None else []
    )
    if not ranked:
        raise ConfigError(
            f"{study.path}: no trial of {study.config.name!r} has finished; let the study go on"
        )
    if number is None:
        best = ranked[0]
        violated = [name for name, value in best.constraints.items() if value > 0]
        if violated:
            raise ConfigError(
                f"{study.path}: every trial of {study.config.name!r} violates a constraint, the best "
                f"{', '.join(violated)}; let the study go on, relax it, or name a trial with --trial"
            )
        return best, bool(trained)
    named = [trial for trial in ranked if trial.number == number]
    if not named:
        numbers = ", ".join(str(trial.number) for trial in ranked[:20])
        raise ConfigError(f"--trial {number}: has not finished, or is not there; the best are {numbers}")
    return named[0], bool(trained)


def preset_text(study: Study, chosen: tuple[Any, bool]) -> str:
    """The preset as the text of its file."""
    trial, was_trained = chosen
    content = preset(study, trial, was_trained=was_trained)
    parse(MethodConfig, content, content["method"])
    use = yaml_text({"arms": [{"name": "tuned", "method": f"{content['method']}.yaml", **_own(study)}]})
    lines = [HEADER, "", *(f"  {line}" for line in use.splitlines())]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines) + f"\n{yaml_text(content)}"


def _own(study: Study) -> dict[str, Any]:
    """What the arm says in its campaign that no preset can carry, so that it has to be said again."""
    arm = next(each for each in study.campaign.config.arms if each.name == study.arm.name)
    said = {name: getattr(arm, name) for name in OF_THE_ARM}
    plain: dict[str, Any] = to_plain({name: value for name, value in said.items() if value is not None})
    return plain


def preset(study: Study, trial: Any, *, was_trained: bool) -> dict[str, Any]:
    """The preset as a mapping: the loops in full, of the other sections what the campaign does not say itself."""
    plain = masked(study.candidate(trial.params).plain)
    base = _without_method(study)
    sections = {name: _changed(base[name], plain[name]) for name in OF_METHODS}
    objectives = study.objectives if was_trained else study.simulated_objectives
    figures = ", ".join(
        f"{each.name} {value:.4g}" for each, value in zip(objectives, trial.values, strict=True)
    )
    judged = (
        f"over seeds {', '.join(map(str, study.seeds))} of training"
        if was_trained
        else "simulated on the plant, not trained"
    )
    paths = ", ".join(f"{path} {value!r}" for path, value in trial.params.items())
    over = ", ".join(dotted(masked(study.config.over)))
    laid = f" The study laid {over} over the campaign, which is not part of this preset." if over else ""
    return {
        "method": f"{study.config.name}_best",
        "summary": f"Tuned: trial {trial.number} of the study {study.config.name}.",
        "source": f"entrostat tune; study {study.config.name}, trial {trial.number}; arm {study.arm.name} of "
        f"{study.campaign.path.name}",
        "notes": f"{figures} {judged}. Searched: {paths}.{laid} The best of several trials looks better than it is: "
        "judge it on seeds that the study has not seen.",
        "loops": {name: _said(loop) for name, loop in plain["loops"].items()},
        **{name: section for name, section in sections.items() if section},
    }


def _without_method(study: Study) -> dict[str, Any]:
    """What the campaign's own sections come to, without the arm."""
    config = study.campaign.config
    sections = {name: getattr(config, name) for name in (*OF_METHODS, "task", "evaluation")}
    plain: dict[str, Any] = to_plain(parse(RunConfig, sections, str(study.campaign.path)))
    return plain


def _said(loop: Mapping[str, Any]) -> dict[str, Any]:
    """Without the keys that are null, which is what they are anyway."""
    return {key: value for key, value in loop.items() if value is not None}


def _changed(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of ``over`` that differ; a part of another kind in full."""
    changed: dict[str, Any] = {}
    for key, value in over.items():
        below = base.get(key)
        if value == below:
            continue
        if isinstance(value, dict) and isinstance(below, dict) and value.get("kind") == below.get("kind"):
            changed[key] = _changed(below, value)
        else:
            changed[key] = value
    return changed
