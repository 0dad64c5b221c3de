"""The winner of a study as a method preset, which a campaign takes as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.configuration.method_file import MethodConfig
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.part_schema import to_plain
from orchestrator.configuration.resolve import OF_METHODS, parse
from orchestrator.configuration.yaml_files import dotted
from orchestrator.engineering.plant_file import yaml_text
from orchestrator.masking import masked
from orchestrator.tuning.study import Study
from orchestrator.tuning.winner import Winner, figures

FILE = "tuned.yaml"
"""The name that the documentation gives the file: a program cannot know where its output goes."""
HEADER = "A method preset, written by `entrostat tune --best`: {}."
USE = f"Saved as {FILE} beside a campaign, it is the method of an arm there:"
OF_THE_ARM = ("task", "phases")
"""Settings that an arm can have and a method cannot."""


def preset_text(study: Study, chosen: Winner) -> str:
    """The preset as the text of its file."""
    content = preset(study, chosen)
    parse(MethodConfig, content, content["method"])
    use = yaml_text({"arms": [{"name": "tuned", "method": FILE, **_own(study)}]})
    lines = [HEADER.format(chosen.said), USE, "", *(f"  {line}" for line in use.splitlines())]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines) + f"\n{yaml_text(content)}"


def _own(study: Study) -> dict[str, Any]:
    """The settings of the arm that no preset can carry, so that an arm has to give them again."""
    arm = next(each for each in study.campaign.config.arms if each.name == study.arm.name)
    said = {name: getattr(arm, name) for name in OF_THE_ARM}
    plain: dict[str, Any] = to_plain({name: value for name, value in said.items() if value is not None})
    return plain


def preset(study: Study, chosen: Winner) -> dict[str, Any]:
    """The preset as a mapping: the loops in full, and what the other sections add to the campaign."""
    trial = chosen.trial
    plain = masked(study.candidate(trial.params).plain)
    base = _without_method(study)
    sections = {name: _changed(base[name], plain[name]) for name in OF_METHODS}
    criteria = study.criteria if chosen.was_trained else study.simulated_criteria
    judged = (
        f"over seeds {', '.join(map(str, study.seeds))} of training"
        if chosen.was_trained
        else "simulated on the plant, not trained"
    )
    value = f"{figures(criteria, trial.values)} {judged}"
    too_good = (
        "The best of several trials looks better than it is: judge it on seeds that the study has not seen."
    )
    if chosen.confirmed is not None:
        value = f"{chosen.said[0].upper()}{chosen.said[1:]} {judged}"
        too_good = (
            "Expect the confirmed value; the best of several confirmed still looks a little better than it is: compare "
            "methods on seeds that the study has not seen."
        )
    paths = ", ".join(f"{path} {value!r}" for path, value in trial.params.items())
    over = ", ".join(dotted(masked(study.config.over)))
    laid = f" The study laid {over} over the campaign, which is not part of this preset." if over else ""
    return {
        "method": f"{study.config.name}_best",
        "summary": f"Tuned: trial {trial.number} of the study {study.config.name}.",
        "source": f"entrostat tune; study {study.config.name}, trial {trial.number}; arm {study.arm.name} of "
        f"{study.campaign.path.name}",
        "notes": f"{value}. Searched: {paths}.{laid} {too_good}",
        "loops": {name: _said(loop) for name, loop in plain["loops"].items()},
        **{name: section for name, section in sections.items() if section},
    }


def _without_method(study: Study) -> dict[str, Any]:
    """The campaign's own sections with all defaults, without the arm."""
    config = study.campaign.config
    sections = {name: getattr(config, name) for name in (*OF_METHODS, "task", "evaluation")}
    plain: dict[str, Any] = to_plain(parse(RunConfig, sections, str(study.campaign.path)))
    return plain


def _said(loop: Mapping[str, Any]) -> dict[str, Any]:
    """A loop without the keys that are null, which is their default."""
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
