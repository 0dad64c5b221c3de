"""Keeps policies in the folder of a run: the trained one at its end, and the best one by an evaluation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from safetensors import SafetensorError

from orchestrator.configuration.models import RunConfig
from orchestrator.storage.best_file import Best, read_best, write_best
from orchestrator.storage.files import replacing_folder
from orchestrator.storage.run_folder import RunFolder
from orchestrator.training.ranks import Ranks
from policies.model.loading import LoadedPolicy

log = logging.getLogger(__name__)


def keep(
    policy: LoadedPolicy,
    path: Path,
    config: RunConfig,
    ranks: Ranks,
    also: Callable[[Path], None] = lambda _: None,
) -> None:
    """Save a policy in a folder, whole or not at all; every rank takes part, the first writes.

    ``also`` writes what belongs beside the weights.

    Raises:
        OSError: the disk does not take it; of the first rank alone.
    """
    merge = config.policy.lora is not None and config.policy.lora.merge
    if not ranks.is_first:
        policy.save(path, merge=merge, write=False)
        return
    has_gathered = False
    try:
        with replacing_folder(path) as unfinished:
            has_gathered = True
            policy.save(unfinished, merge=merge, write=True)
            also(unfinished)
    except OSError:
        if not has_gathered:  # the others gather the policy with this rank, and would wait for it
            policy.save(path, merge=merge, write=False)
        raise
    except SafetensorError as error:  # which names no file
        raise OSError(
            f"{path}: the policy cannot be written ({error}); fix that and give the same command again"
        ) from error


class BestPolicy:
    """The policy whose evaluation was the best so far, in the folder ``best`` of the run.

    What is in the folder decides, not a state in the checkpoint: iterations that are repeated after a kill measure the
    same again, and what is no better is not written.  A rollback leaves the folder as it is, since its policy has been
    evaluated as the file beside it says.  The best by another metric, which the run kept before, is replaced.

    A disk that is full costs the new policy, never the old one, and the run goes on.
    """

    def __init__(self, folder: RunFolder, config: RunConfig, policy: LoadedPolicy, ranks: Ranks) -> None:
        assert config.evaluation.keep_best is not None
        self._metric = config.evaluation.keep_best
        self._folder = folder
        self._config = config
        self._policy = policy
        self._ranks = ranks
        best = read_best(folder)
        self._best = best if best is not None and best.metric == self._metric else None

    def consider(self, step: int, metrics: Mapping[str, float]) -> None:
        """Keep the policy as it is after ``step`` iterations, if its evaluation is better.  All ranks come here."""
        value = metrics.get(self._metric)  # None at an evaluation of other sets
        best = None if value is None else Best(metric=self._metric, value=value, iteration=step)
        is_better = best is not None and (self._best is None or best.value > self._best.value)
        if best is None or not self._ranks.of_first(is_better):
            return
        problem = None
        try:
            keep(self._policy, self._folder.best_path, self._config, self._ranks, partial(write_best, best))
        except OSError as error:
            problem = str(error)
        if (problem := self._ranks.gather(problem)[0]) is None:
            self._best = best
        else:
            log.warning("the best policy is not kept: %s", problem)
