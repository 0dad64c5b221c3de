"""The batches of a run's rollouts, each begun up to some iterations before the learner learns from it.

    learner   ─ update t ────────────── push t+1 ─ update t+1 ──────── push t+2 ─
    engine     sample t+k, grade it                 sample t+k+1, grade it

Batch t is sampled with the weights and the commands of iteration max(0, t − k), so its staleness is the dead time that
``rollout.ahead`` says, neither more nor less, and a run is the same however fast the engine is.  The learner
waits for what is being sampled before it pushes weights: only then is the engine between two batches.  With prompts in
flight (`prompts_in_flight.py`) that is the age of a batch's last tokens, and others in it are older.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from orchestrator.training.batch_shares import Share
from orchestrator.training.experience import Explorer, Rollouts
from orchestrator.training.prompts import PromptLoader
from orchestrator.training.prompts_in_flight import PromptsInFlight
from orchestrator.training.replacements import try_until_mixed
from orchestrator.training.stored_rollouts import restored, stored
from policies.rollouts.base import Sampling


class Batches:
    """Begins batches in the order of their iterations and gives each out once.

    With ``ahead`` 0 everything happens where it is asked for.  Otherwise one thread samples and grades, one batch after
    another, while pushes stay with the caller, and collectives too, but for those of prompts in flight, which have a
    line of their own.  All ranks call every method at the same places.
    """

    def __init__(
        self,
        explorer: Explorer,
        prompts: PromptLoader,
        *,
        group_size: int,
        ahead: int = 0,
        extra_rounds: int = 0,
        in_flight: PromptsInFlight | None = None,
    ) -> None:
        self.explorer = explorer
        self.prompts = prompts
        self.group_size = group_size
        self.ahead = ahead
        self.extra_rounds = extra_rounds
        self.in_flight = in_flight
        self._thread = ThreadPoolExecutor(1, "rollouts") if ahead else None
        self._begun: dict[int, tuple[Callable[[], Share], Sampling]] = {}
        self._there: dict[int, tuple[Share, Sampling]] = {}

    def collect(self, iteration: int, sampling_at: Callable[[int], Sampling]) -> Rollouts:
        """The batch of an iteration, after the later ones have been begun that may be.

        ``sampling_at`` says how the batch of an iteration would be sampled now.
        """
        last = min(iteration + self.ahead, self.prompts.num_iterations - 1)
        for t in range(iteration, last + 1):
            if t not in self._there:
                self._begin(t, sampling_at(t))
        if iteration not in self._there:
            self._wait_for(iteration)
        whole, sampling = self._there.pop(iteration)
        return Rollouts.of(whole, self.group_size, sampling)

    def settle(self) -> None:
        """Wait until nothing is being sampled."""
        for t in list(self._begun):
            self._wait_for(t)

    def _wait_for(self, iteration: int) -> None:
        result, sampling = self._begun.pop(iteration)
        share = result()
        whole = share if self.in_flight else Share.join(self.explorer.ranks.gather(share))
        self._there[iteration] = whole, sampling

    def push(self, version: int) -> None:
        """Give the engine the policy, which has so many updates behind it now."""
        self.settle()
        self.explorer.engine.push(version)
        if self._thread is not None:
            with (
                self.explorer.engine.session()
            ):  # the first weights are taken here too, by all ranks together
                pass

    def close(self) -> None:
        """Wait for the batch that is being sampled, and begin no other."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    def state_dict(self) -> dict[str, Any]:
        """What was sampled and not learned from yet; nothing may be in the making."""
        assert not self._begun
        batches = {t: stored(share, sampling) for t, (share, sampling) in self._there.items()}
        return {"batches": batches} | ({"in_flight": self.in_flight.state_dict()} if self.in_flight else {})

    def load_state_dict(
        self, content: Mapping[str, Any], iteration: int, sampling_at: Callable[[int], Sampling]
    ) -> None:
        """Keep, before ``iteration``, what a checkpoint has of it and of those after it.

        What would be sampled in another way now, after a rollback or by other settings, is left out and sampled again.
        """
        batches = content.get("batches", {})  # which checkpoints of earlier versions lack
        for t in range(iteration, iteration + self.ahead):
            if t in batches:
                encode = self.explorer.encode
                found = restored(batches[t], self.prompts, t, self.group_size, sampling_at(t), encode)
                self._there |= {t: found} if found else {}
        if self.in_flight and "in_flight" in content:
            left = [each.get("cut") for t, each in batches.items() if t not in self._there]
            unused = [number for cut in left if cut for number in cut["numbers"]]
            self.in_flight.load_state_dict(content["in_flight"], unused, sampling_at)

    def _begin(self, iteration: int, sampling: Sampling) -> None:
        if self.in_flight:
            work: Callable[[], Share] = partial(self.in_flight.collect, iteration, sampling)
        else:
            work = partial(
                try_until_mixed,
                self.explorer,
                self.prompts.problems(iteration),
                self.group_size,
                sampling,
                extra_rounds=self.extra_rounds,
                another=partial(self.prompts.problem, iteration),
            )
        result = work if self._thread is None else self._thread.submit(work).result
        self._begun[iteration] = result, sampling
