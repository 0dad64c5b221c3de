"""The command `entrostat evaluate`: a policy on held-out problems, greedily and by samples."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestrator.commands.outputs import print_rows, write_all
from orchestrator.comparison.problem_rates import Rate, rate
from orchestrator.configuration.checks import check_campaign
from orchestrator.configuration.engine_checks import check_installed
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.resolve import Arm, Campaign, parse, read_campaign
from orchestrator.errors import ConfigError, did_you_mean, named, refusing
from orchestrator.masking import masked
from orchestrator.provenance import versions
from orchestrator.storage.outputs import require_writable
from orchestrator.storage.stored_policy import named_run, names_of_runs, stored_policy
from policies.model.sources import local_source

ALONE: dict[str, Any] = {"loops": {}, "guardrails": {}, "phases": []}
"""Sections of a run that have nothing to do with an evaluation, as if they were not there."""

GRADING = {"graders", "grading_timeout_seconds", "grading_memory_megabytes"}
"""Keys of ``execution`` that graders read."""


def run_evaluation(
    name: str,
    *,
    task: Path,
    arm: str | None,
    overrides: Sequence[str],
    seed: int,
    best: bool,
    output: Path | None,
    folder: Path,
    console: Console,
) -> None:
    """Measure a policy on the held-out problems of a campaign, print what was found, and write it.

    Args:
        name: of a run, a model folder or file, or a model of the hub.
        task: the campaign file with the problems, and how the policy is spoken to.
        arm: the arm whose settings are taken; None for the first.
        overrides: of keys of the campaign.
        seed: of the samples.
        best: whether the best policy of a run is wanted rather than the last.
        output: JSON file to write; None writes none.
        folder: where runs are kept.
        console: where the figures are printed.

    Raises:
        ConfigError: the policy, the campaign, or both together cannot be used.
    """
    if output is not None:
        require_writable(output, "--output")
    source = _source(name, folder, best)
    campaign = _alone(read_campaign(task, overrides), arm, source)
    check_campaign(campaign)
    check_installed(campaign)
    config, execution = campaign.arms[0].config, campaign.config.execution
    # Imported only now, because torch and Lightning take seconds and bad input should not wait for them.
    from orchestrator.training.evaluation import Scores, pass_at_k
    from orchestrator.training.policy_evaluation import try_policy
    from policies.rollouts.base import EngineUnavailableError

    def rates(scores: Scores, pass_at: Sequence[int]) -> dict[str, Rate]:
        passed = scores.passed
        found = {
            "pass_at_1": rate([float(each) for each in scores.passed_greedily]),
            "pass_rate": rate([sum(row) / len(row) for row in passed]),
        }
        return found | {
            f"pass_at_{k}": rate([pass_at_k(len(row), sum(row), k) for row in passed]) for k in pass_at
        }

    with tempfile.TemporaryDirectory() as scratch:
        try:
            tried = try_policy(config, execution.model_dump(include=GRADING), seed, Path(scratch))
        except (ValueError, EngineUnavailableError) as error:
            raise ConfigError(f"policy {name!r}: {error}") from error
    results = {each.prefix: rates(scores, each.settings.pass_at) for each, scores in tried}
    for each, _ in tried:
        temperature, settings = config.rollout.temperature, each.settings
        how = [
            ("problems", str(len(each.problems))),
            ("samples of each", f"{settings.num_samples} at temperature {temperature:g}"),
        ]
        figures = [(key, _text(found)) for key, found in results[each.prefix].items()]
        print_rows(console, f"{each.prefix.rstrip('/')}, with 95 % intervals", [*how, *figures])
    if output is not None:
        content = {
            "policy": source,
            "task": str(task),
            "arm": campaign.arms[0].name,
            "seed": seed,
            "results": {
                f"{prefix}{key}": asdict(found)
                for prefix, own in results.items()
                for key, found in own.items()
            },
            "settings": campaign.arms[0].plain,
            "versions": versions(),
        }
        write_all({output: json.dumps(masked(content), indent=1, ensure_ascii=False).encode()})


def _text(found: Rate) -> str:
    return f"{found.value:.3f}  [{found.low:.3f}, {found.high:.3f}]"


def _source(name: str, folder: Path, best: bool) -> str:
    """What `policy.source` can name: the folder of a run's policy, or what the user has named."""
    run = named_run(name, folder)
    if run is not None:
        return str(stored_policy(run, best=best).path)
    if best:
        raise ConfigError(
            f"--best: goes with a run, and there is none of the name {name!r} in {named(folder.resolve())}; "
            f"{did_you_mean(name, names_of_runs(folder))}"
        )
    with refusing(f"policy {name!r}", "name a model folder, a model of the hub or CAMPAIGN/ARM/SEED"):
        path = local_source(name)
    if path is None and name.count("/") > 1:  # no id of the hub has more
        raise ConfigError(
            f"policy {name!r}: is no folder, and no run in {named(folder.resolve())}; "
            f"{did_you_mean(name, names_of_runs(folder))}"
        )
    return name if path is None else str(path.resolve())


def _alone(campaign: Campaign, arm: str | None, source: str) -> Campaign:
    """The campaign with one arm, whose policy comes from ``source`` and is not trained."""
    arms = {each.name: each for each in campaign.arms}
    if arm is not None and arm not in arms:
        raise ConfigError(f"--arm {arm}: {named(campaign.path)} has no such arm; {did_you_mean(arm, arms)}")
    chosen = campaign.arms[0] if arm is None else arms[arm]
    plain = chosen.plain
    untrained: dict[str, Any] = {"lora": None, "trainable_layers": None, "initialisation": {}}
    one_process = {key: value for key, value in plain["learner"].items() if key != "strategy"}
    content = plain | ALONE | {
        "policy": plain["policy"] | untrained | {"source": source},
        "learner": one_process | {"devices": 1, "num_nodes": 1},
        "evaluation": plain["evaluation"] | {"keep_best": None},
    }  # fmt: skip
    config = parse(RunConfig, content, f"{named(campaign.path)}: arms.{chosen.name}")
    return replace(campaign, arms=(Arm(name=chosen.name, method=chosen.method, config=config),))
