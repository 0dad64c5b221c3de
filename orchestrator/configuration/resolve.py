"""Resolves a campaign file into its runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from controllers.parts.references import AUTO
from orchestrator.configuration.fingerprint import fingerprint
from orchestrator.configuration.known_keys import known_keys
from orchestrator.configuration.method_file import MethodConfig
from orchestrator.configuration.models import ArmConfig, CampaignConfig, RunConfig
from orchestrator.configuration.own_paths import located
from orchestrator.configuration.part_schema import to_plain
from orchestrator.configuration.yaml_files import merge, read_yaml
from orchestrator.errors import (
    ConfigError,
    did_you_mean,
    lines_of,
    named,
    printable,
    quoted,
    refusing,
    short,
)
from orchestrator.storage.renamed import KINDS, RETIRED, new_key
from orchestrator.tracking.store import default_uri
from tasks import own_code

Model = TypeVar("Model", bound=BaseModel)

_SECTIONS = ("policy", "task", "learner", "rollout", "evaluation", "guardrails")
OF_METHODS = ("policy", "learner", "rollout", "guardrails")
"""What a method can say besides its loops."""
_OF_ARMS = ("policy", "task", "learner", "rollout", "guardrails")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One arm, resolved: its name, the method it follows, and the configuration of its runs."""

    name: str
    method: str
    config: RunConfig
    own: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What the arm or its method says itself of the sections that arms share."""

    @property
    def plain(self) -> dict[str, Any]:
        """The resolved configuration as YAML can hold it, credentials and all: for use, not to be stored."""
        plain: dict[str, Any] = to_plain(self.config)
        return plain

    @property
    def fingerprint(self) -> str:
        """Hash of everything that decides the result of a run, but for its seed; see `fingerprint`."""
        return fingerprint(self.config, self.plain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A campaign file, read, merged and checked."""

    path: Path
    config: CampaignConfig
    arms: tuple[Arm, ...]

    @property
    def tracking_uri(self) -> str:
        """The tracking URI of the runs: the campaign's own, or an SQLite file beside the runs; credentials included."""
        return self.config.tracking.uri or default_uri(Path(self.config.tracking.folder))

    @property
    def plain(self) -> dict[str, Any]:
        """The resolved campaign: the file's own settings, and every arm in full; credentials and all."""
        own = to_plain(self.config)
        shared = {key: own[key] for key in ("name", "description", "tracking", "execution", "seeds")}
        arms = [{"name": arm.name, "method": arm.method, **arm.plain} for arm in self.arms]
        return shared | {"arms": arms}


def read_campaign(path: Path, overrides: Sequence[str] = ()) -> Campaign:
    """Read a campaign and resolve its arms.

    Raises:
        ConfigError: anything is wrong in the campaign or in a preset it names.
    """
    own_code.forget_changed()
    content, where = located(read_yaml(path, overrides), path.parent), named(path)
    if "space" in content and "campaign" in content:
        raise ConfigError(f"{where}: this is a study, not a campaign; give it to `entrostat tune`")
    config = parse(CampaignConfig, content, where)
    _refuse_twins(f"{where}: arms", [arm.name for arm in config.arms])
    _refuse_one_folder(f"{where}: arms", [arm.name for arm in config.arms])
    _refuse_twins(f"{where}: seeds", config.seeds)
    return Campaign(path=path, config=config, arms=_arms(path, config))


def read_method(name: str, campaign_path: Path | None = None) -> MethodConfig:
    """Read a preset by name, or by path where the name ends in ``.yaml``."""
    folders = method_folders(campaign_path)
    if name.endswith((".yaml", ".yml")):
        base = campaign_path.parent if campaign_path else Path()
        file = base / name
        return parse(MethodConfig, located(read_yaml(file), file.parent), named(file))
    for folder in folders:
        file = folder / f"{name}.yaml"
        if os.path.isfile(file):  # noqa: PTH113  pathlib's raises of a name that is too long
            return parse(MethodConfig, located(read_yaml(file), folder), named(file))
    raise ConfigError(f"unknown method {short(name)}; {did_you_mean(name, method_names(campaign_path))}")


def method_names(campaign_path: Path | None = None) -> list[str]:
    """Presets that a campaign can name."""
    return sorted({file.stem for folder in method_folders(campaign_path) for file in folder.glob("*.yaml")})


def method_folders(campaign_path: Path | None = None) -> list[Path]:
    """The folders in which presets are searched: beside the campaign, in this checkout, in the installation."""
    beside = [campaign_path.parent / "methods"] if campaign_path else []
    return [
        *beside,
        Path(__file__).parents[2] / "configs" / "methods",
        Path(sys.prefix) / "share" / "entrostat" / "configs" / "methods",
    ]


def _arms(path: Path, campaign: CampaignConfig) -> tuple[Arm, ...]:
    """Every arm in full.

    Raises:
        ConfigError: with the faults of all arms, each fault of a section that arms share once.
    """
    arms: list[Arm] = []
    faults: list[str] = []
    for arm in campaign.arms:
        try:
            arms.append(_arm(path, campaign, arm))
        except ConfigError as error:
            faults += str(error).split("\n")
    if faults:
        raise ConfigError(lines_of(dict.fromkeys(faults)))
    return tuple(arms)


def _arm(path: Path, campaign: CampaignConfig, arm: ArmConfig) -> Arm:
    where = f"{named(path)}: arms.{arm.name}"
    method, faults = None, []
    if arm.method is not None:
        try:
            method = read_method(arm.method, path)
        except ConfigError as error:
            faults.append(f"{where}.method: {error}")
    of_method = {name: getattr(method, name) for name in OF_METHODS} if method else {}
    own = merge(of_method, {name: getattr(arm, name) or {} for name in _OF_ARMS})
    sections = merge({name: dict(getattr(campaign, name)) for name in _SECTIONS}, own)
    phases = campaign.phases if arm.phases is None else arm.phases
    resolved = sections | {
        # A method that is not known leaves the arm's changes to its loops without what they change.
        "loops": {} if faults else merge(method.loops if method else {}, arm.loops or {}),
        "phases": [_phase(sections["task"], phase) for phase in phases],
    }
    try:
        config = parse(RunConfig, resolved, where)
    except ConfigError as error:
        faults += [as_in_the_file(fault, path, arm.name, own) for fault in str(error).split("\n")]
    if faults:
        raise ConfigError(lines_of(faults))
    return Arm(name=arm.name, method=arm.method or "custom", config=config, own=own)


def as_in_the_file(fault: str, path: Path, arm: str, own: dict[str, Any]) -> str:
    """The fault of an arm, under the key of the section that arms share where the arm has no ``own`` value there."""
    shared = f"{named(path)}: "
    inside = fault.removeprefix(f"{shared}arms.{arm}.")
    keys = inside.partition(": ")[0].split(".")
    if inside == fault or keys[0] not in _SECTIONS or _says(own, keys):
        return fault
    return shared + inside


def _says(sections: dict[str, Any], keys: Sequence[str]) -> bool:
    """Whether the sections have the key, or, for a section as a whole, anything in it."""
    node: Any = sections
    for key in keys:
        if not isinstance(node, dict) or key not in node:
            return False
        node = node[key]
    return bool(node != {})


def _phase(task: dict[str, Any], phase: dict[str, Any]) -> dict[str, Any]:
    """The phase with the whole of its task: the run's, under the keys that the phase changes."""
    whole = {"task": task}
    return whole | phase if phase.get("task") is None else merge(whole, phase)


def _refuse_twins(where: str, names: Sequence[Any]) -> None:
    for name in twins(names):
        raise ConfigError(f"{where}: {name!r} appears twice; give each its own")


def _refuse_one_folder(where: str, names: Sequence[str]) -> None:
    """Names that are one folder where upper and lower case are the same."""
    folded = [name.casefold() for name in names]
    for name in twins(folded):
        alike = [names[place] for place, each in enumerate(folded) if each == name]
        raise ConfigError(
            f"{where}: {' and '.join(map(repr, alike))} are the same folder on some systems; make them differ by more than case"
        )


def twins(names: Sequence[Any]) -> list[Any]:
    """Those that are there a second time."""
    return [name for place, name in enumerate(names) if name in names[:place]]


def parse(model: type[Model], content: Any, where: str) -> Model:
    """The model of what should be a mapping, and was read from the file ``where``.

    Raises:
        ConfigError: with path, rule, value and remedy of everything that is wrong.
    """
    with refusing(where, "fix it"):
        try:
            return model.model_validate(content)
        except ValidationError as error:
            faults = [_line(model, where, fault, content) for fault in error.errors()]
            raise ConfigError(lines_of(faults)) from error


def _line(model: type[BaseModel], where: str, fault: Any, content: Any) -> str:
    """One fault that pydantic found as path, rule, value, remedy."""
    path, holder = _key_path(fault["loc"], content)
    inside = ".".join(path)  # "" where it is of the whole
    key = f"{where}{'.' if ': ' in where else ': '}{inside}" if inside else where
    kind, given, context = fault["type"], fault["input"], fault.get("ctx", {})
    if kind == "extra_forbidden":
        old = str(fault["loc"][-1])
        new = new_key(holder, old)
        known = known_keys(model, fault["loc"][:-1])
        return f"{key}: {f'is called {new} now; rename it' if new else f'unknown key; {did_you_mean(old, known)}'}"
    if kind == "missing":
        return f"{key}: is missing; add it"
    if kind == "union_tag_invalid":
        if retired := RETIRED.get(context["tag"]):
            return f"{key}.kind: {context['tag']!r} {retired}"
        known = context["expected_tags"].replace("'", "").split(", ")
        if context["tag"] in KINDS:
            return f"{key}.kind: {context['tag']} is called {KINDS[context['tag']]} now; rename it"
        known += [name for name, kind in AUTO.items() if kind in known]
        return f"{key}.kind: unknown kind {short(context['tag'])}; {did_you_mean(str(context['tag']), known)}"
    if kind == "union_tag_not_found":
        return f"{key}: must be a mapping with a key 'kind', got {short(given)}"
    if kind == "value_error":
        return f"{key}: {printable(str(context['error']))}"
    return f"{key}: {fault['msg'][0].lower()}{fault['msg'][1:]}, got {short(given)}"


def _key_path(location: tuple[Any, ...], content: Any) -> tuple[list[str], Any]:
    """The keys as they stand in the file, and what holds the last of them.

    Pydantic puts the kind of a union's member between them.
    """
    path: list[str] = []
    holder = content
    for key in location:
        if isinstance(key, str) and not isinstance(content, dict):  # a kind by its name, a member of a union
            content = {} if content == key else content
            continue
        if isinstance(key, int) and isinstance(content, dict | str):  # one alone in the place of a list
            continue
        if isinstance(content, dict) and content.get("kind") == key and key not in content:
            continue
        path.append(quoted(key))
        holder, content = content, _child(content, key)
    return path, holder


def _child(content: Any, key: Any) -> Any:
    if isinstance(content, dict):
        return content.get(key)
    if isinstance(content, list | tuple) and isinstance(key, int) and key < len(content):
        return content[key]
    return None
