"""How often the program waits for the GPU in a micro-batch; it should not depend on the tokens."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.models import TINY, random_policy, rows

LIMIT = 6
WAITS = ("aten._local_scalar_dense.default", "aten.nonzero.default", "aten.masked_select.default")
"""Operations that wait on any device.  A GPU waits for copies too, and counts for itself."""


def host_synchronisations(bench: Bench) -> None:
    """Count those of a minibatch in two pieces and in four, of short rows and of long ones."""
    counts = {length: _of_a_piece(bench, length) for length in (16, 64)}
    for length, count in counts.items():
        bench.at_most(f"in a micro-batch, responses of {length} tokens", count, LIMIT, on="gpu")
    bench.require("whatever the tokens", len(set(counts.values())) == 1, f"{sorted(counts.values())}")


def _of_a_piece(bench: Bench, length: int) -> float:
    return (_counted(bench, length, 2) - _counted(bench, length, 4)) / 2


def _counted(bench: Bench, length: int, micro_batch_size: int) -> int:
    """Synchronisations in the gradient of a minibatch of eight responses."""
    from orchestrator.configuration.learner import LearnerConfig
    from orchestrator.training.ranks import Ranks
    from orchestrator.training.update import Update, Updater
    from policies.policy_loss import Actuation
    from policies.statistics.response_statistics import View

    policy = random_policy(bench, TINY)
    sequences = rows([(4, length)] * 8, TINY.vocabulary)
    updater = Updater(
        policy=policy,
        settings=LearnerConfig(iterations=1, micro_batch_size=micro_batch_size),
        max_tokens=length,
        backward=lambda loss, _: loss.backward(),
        ranks=Ranks(),
    )
    batch = _batch(bench, sequences)
    actuation, view = Actuation.of([], {}, []), View(temperature=1.0)
    with bench.autocast():  # once before it counts, since libraries wait when they are first used
        updater.accumulate(Update(seed=0), torch.arange(8), sequences, batch, actuation, view)
    with bench.autocast(), _counting(bench) as waits:
        updater.accumulate(Update(seed=0), torch.arange(8), sequences, batch, actuation, view)
    return len(waits)


def _batch(bench: Bench, sequences: Any) -> Any:
    from policies.statistics.batch import TokenBatch
    from policies.statistics.sequences import token_index

    response, position = token_index(sequences)
    values: Tensor = -torch.rand(len(response))
    return TokenBatch(
        response=response,
        position=position,
        logprobs=values,
        old_logprobs=values,
        entropy=-values,
        advantages=torch.randn(8)[response],
        weights=torch.zeros_like(values),
        rewards=torch.ones(8),
        group=torch.arange(8) // 4,
    ).to(bench.device)


@contextmanager
def _counting(bench: Bench) -> Iterator[list[str]]:
    """What waits inside, one entry each."""
    found: list[str] = []
    if not bench.is_gpu:
        with _Dispatched(found):
            yield found
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
    found += [str(each.message) for each in caught if "synchroniz" in str(each.message)]


class _Dispatched(TorchDispatchMode):
    """Notes the operations that would wait."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if str(function) in WAITS:
            self.found.append(str(function))
        return function(*args, **(kwargs or {}))
