"""Continues a stored run with other settings, as a run of another campaign.

A stored run keeps its settings.  A run that cannot continue as it is, or that should continue with other
settings, gives its checkpoint and its record up to it to a new run, and stays unchanged.  A loop or a detector
whose settings have changed starts afresh there, and so do a loop whose commands wait longer or shorter than before and a
detector that ended the run; everything else continues.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.campaign import campaign_folder
from orchestrator.configuration.loops import dead_time
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.resolve import Arm, Campaign
from orchestrator.configuration.stored import as_of_today, differences, differing_keys
from orchestrator.errors import ConfigError, did_you_mean
from orchestrator.masking import masked
from orchestrator.storage.best_file import read_best
from orchestrator.storage.files import replace_file, replacing_folder, write_json
from orchestrator.storage.guardrail_files import read_rollbacks
from orchestrator.storage.run_folder import RunFolder, Status, read_json
from orchestrator.storage.samples import sample_files

FILE = "continued.json"
"""Says in a run's folder where it comes from; written last, so that what a kill left half done is done again."""

KEPT = ("policy", "task")
"""Sections that have to stay as they are: a checkpoint fits no other policy, nor other problems."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """The stored run that another goes on from."""

    run: RunFolder
    arm: str
    seed: int
    at: int | None = None
    """At most this many iterations of it."""


def earlier_run(path: Path | None, at: int | None) -> Earlier | None:
    """What ``--continue-from`` and ``--at-iteration`` name; None without the first.

    Raises:
        ConfigError: there is no such run, or the second stands alone.
    """
    if path is None:
        if at is not None:
            raise ConfigError(
                f"--at-iteration {at}: goes with --continue-from RUN_FOLDER; add that, or leave it out"
            )
        return None
    run = RunFolder(path.resolve())
    try:
        info = run.read_info()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--continue-from {path}: is not the folder of a run (it has no run.json that can be read); name one such "
            "as runs/CAMPAIGN/ARM/seed-0"
        ) from error
    return Earlier(run=run, arm=info.arm, seed=info.seed, at=at)


def narrowed(campaign: Campaign, earlier: Earlier) -> Campaign:
    """The campaign with nothing but the arm and the seed of that run.

    Raises:
        ConfigError: it has no such arm.
    """
    arms = tuple(arm for arm in campaign.arms if arm.name == earlier.arm)
    if not arms:
        known = did_you_mean(earlier.arm, [arm.name for arm in campaign.arms])
        raise ConfigError(
            f"--continue-from {earlier.run.path}: {campaign.path} has no arm {earlier.arm!r}; {known}"
        )
    return replace(campaign, arms=arms, config=campaign.config.model_copy(update={"seeds": [earlier.seed]}))


def continue_from(campaign: Campaign, earlier: Earlier) -> None:
    """Give the run of the campaign what it goes on from, unless an earlier command has.

    Raises:
        ConfigError: it cannot go on from there.
    """
    (arm,), source = campaign.arms, earlier.run
    run = campaign_folder(campaign).run(arm.name, earlier.seed)
    origin = {"run": str(source.path), "at": earlier.at}
    if run.path == source.path:
        raise ConfigError(
            f"--continue-from {source.path}: is the run of {campaign.config.name!r} itself, which keeps its settings; "
            "add --set name=NEW"
        )
    if (run.path / FILE).exists():
        if {key: read_json(run.path / FILE).get(key) for key in origin} == origin:
            return
        raise ConfigError(
            f"--continue-from {source.path}: {run.path} goes on from another; name it otherwise"
        )
    if (run.path / "run.json").exists():
        raise ConfigError(f"--continue-from {source.path}: {run.path} is stored already; add --set name=NEW")
    if source.is_locked():
        raise ConfigError(f"--continue-from {source.path}: is being trained; wait for it to end, or stop it")
    stored = source.read_info().config
    before = as_of_today(stored, arm)
    if before is None:
        raise ConfigError(
            f"--continue-from {source.path}: this version cannot read its configuration "
            f"({', '.join(differing_keys(stored, arm))}); begin a run without --continue-from"
        )
    old, new = masked(before.plain), masked(arm.plain)
    changed = [line for key in KEPT for line in differences(old[key], new[key], key)]
    if changed:
        raise ConfigError(
            f"--continue-from {source.path}: {' and '.join(KEPT)} have to stay as they are, got {', '.join(changed)}; "
            "leave them, or begin a run without --continue-from"
        )
    if before.config.rollout.in_flight and not arm.config.rollout.in_flight:
        raise ConfigError(
            f"--continue-from {source.path}: prompts are in flight there, of which some would be learned from twice and "
            "others never; keep rollout.in_flight"
        )
    _hand_over(source, run, arm, before, earlier, origin)


def _hand_over(
    source: RunFolder,
    run: RunFolder,
    arm: Arm,
    before: Arm,
    earlier: Earlier,
    origin: Mapping[str, Any],
) -> None:
    from orchestrator.training.checkpoint_files import read_checkpoint, write_checkpoint
    from orchestrator.training.going_on import where_to_go_on
    from orchestrator.training.shares import keep_shares

    try:
        found = where_to_go_on(source, at_most=earlier.at)
    except ValueError as error:
        raise ConfigError(f"--continue-from {source.path}: {error}") from error
    if found is None:
        raise ConfigError(
            f"--continue-from {source.path}: has no checkpoint; begin a run without --continue-from"
        )
    iterations = arm.config.learner.iterations
    if found.iteration >= iterations:
        raise ConfigError(
            f"--continue-from {source.path}: learner.iterations must be above the {found.iteration} that are done, "
            f"got {iterations}; raise it, or name an earlier point by --at-iteration N"
        )
    records = source.metrics_path.read_bytes()
    if found.mark is None:
        raise ConfigError(
            f"--continue-from {source.path}: its checkpoint is of an earlier version; give its own command once"
        )
    replace_file(run.metrics_path, records[: found.mark.size])
    for path in sample_files(source.samples_path, before=found.iteration).values():
        replace_file(run.samples_path / path.name, path.read_bytes())
    old, new = masked(before.plain), masked(arm.plain)
    same = _unchanged(old, new, before.config, arm.config)
    if source.start_path.exists():
        replace_file(run.start_path, source.start_path.read_bytes())
    if same.loops == set(new["loops"]) == set(old["loops"]) and read_rollbacks(source.rollbacks_path):
        replace_file(
            run.rollbacks_path, source.rollbacks_path.read_bytes()
        )  # with the limits that it has set
    best, metric = read_best(source), arm.config.evaluation.keep_best
    if best is not None and best.metric == metric and best.iteration <= found.iteration:
        with replacing_folder(run.best_path) as copy:
            shutil.copytree(source.best_path, copy, dirs_exist_ok=True)
    checkpoint = read_checkpoint(found.path)
    _adapt(checkpoint, before.config, arm, same, earlier.seed)
    run.checkpoint_path.parent.mkdir(parents=True, exist_ok=True)
    keep_shares(checkpoint, found.path, run.checkpoint_path)
    unfinished = run.checkpoint_path.with_suffix(".unfinished")
    write_checkpoint(checkpoint, unfinished)
    unfinished.replace(run.checkpoint_path)
    changes = ", ".join(differences(old, new)) or "no setting changed"
    note = f"continued from iteration {found.iteration} of {source.path}: {changes}"
    run.write_status(
        Status(status="pending", notes=[note], iteration=found.iteration, num_iterations=iterations)
    )
    write_json(run.path / FILE, {**origin, "iteration": found.iteration})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Same:
    """Names of the loops and detectors whose settings are what they were, and the wait of whose commands is."""

    loops: set[str]
    detectors: set[str]


def _unchanged(
    before: Mapping[str, Any], now: Mapping[str, Any], config: RunConfig, later: RunConfig
) -> _Same:
    def same(old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
        return {name for name in new if name in old and not list(differences(old[name], new[name]))}

    def wait(run: RunConfig, loop: str) -> int:
        return dead_time(run.loops[loop].actuator, **run.timing)

    alike = same(before["loops"], now["loops"])
    return _Same(
        loops={name for name in alike if wait(config, name) == wait(later, name)},
        detectors=same(before["guardrails"], now["guardrails"]),
    )


def _adapt(checkpoint: dict[str, Any], before: RunConfig, arm: Arm, same: _Same, seed: int) -> None:
    """Let loops and detectors whose settings have changed begin afresh, and detectors that have ended the run.

    A run that was done goes on.
    """
    from orchestrator.training.entropy_control import EntropyControl

    # Lightning holds an epoch for over whose checkpoint is of its last batch, however many batches there are now.
    checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"] = False
    callbacks = checkpoint["callbacks"]
    control = EntropyControl(arm.config.loops, seed)
    fresh = dict(zip(sorted(arm.config.loops), control.state_dict()["loops"], strict=True))
    old = dict(zip(sorted(before.loops), callbacks["EntropyControl"]["loops"], strict=True))
    callbacks["EntropyControl"] = {
        "loops": tuple(old[name] if name in same.loops else fresh[name] for name in sorted(fresh)),
        "commands": callbacks["EntropyControl"]["commands"] if same.loops == set(fresh) else {},
    }
    guardrails = callbacks["Guardrails"]
    guardrails["due"] = None
    stopping = {name for name, each in before.guardrails.detectors.items() if each.action == "stop"}
    ended = {key for key in guardrails["tripped"] if key.partition("@")[0] in stopping}
    kept = {key for key in guardrails["states"] if key.partition("@")[0] in same.detectors} - ended
    guardrails["states"] = {key: state for key, state in guardrails["states"].items() if key in kept}
    for name in ("tripped", "beyond"):
        guardrails[name] = [key for key in guardrails[name] if key in kept]
