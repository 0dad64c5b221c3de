"""Rollouts by separate vLLM servers: prompts divided over replicas, token ids in and out over HTTP."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from policies.rollouts.base import Completion, EngineUnavailableError, Sampling, check_context
from policies.rollouts.gpu_transfer import IpcTransfer, NcclTransfer
from policies.rollouts.replica import Replica
from policies.rollouts.weight_pushing import PushedEngine, completion, joined, requests
from policies.rollouts.weight_transfer import AdapterTransfer, FolderTransfer, Transfer

if TYPE_CHECKING:
    from policies.model.loading import LoadedPolicy
    from policies.rollouts.settings import VllmServer

log = logging.getLogger(__name__)

GENERATE = "/inference/v1/generate"
TRANSFERS: dict[str, type[Transfer]] = {
    "folder": FolderTransfer,
    "adapter": AdapterTransfer,
    "nccl": NcclTransfer,
    "ipc": IpcTransfer,
}
MAX_ROUNDS = 8  # of asking the servers that are left for what is missing


class VllmServerEngine(PushedEngine):
    """A set of ``vllm serve`` replicas; each prompt goes to one of them, with all of its samples.

    Chance comes from the seed of each prompt, so it does not matter which one answers.  A replica that is
    gone leaves its prompts to the others until the next push; one that came back without the weights is
    given them again; with none left the run stops.
    """

    def __init__(
        self, policy: LoadedPolicy, settings: VllmServer, *, max_batch_size: int, scratch: Path
    ) -> None:
        super().__init__(policy, push_every=settings.push_every)
        self.max_batch_size = max_batch_size
        self.replicas = [
            Replica(
                address=url,
                timeout_seconds=settings.timeout_seconds,
                retries=settings.retries,
                backoff_seconds=settings.backoff_seconds,
            )
            for url in settings.urls
        ]
        folder = Path(settings.folder).expanduser() if settings.folder else scratch
        self.transfer = TRANSFERS[settings.transfer](policy, folder.resolve() / "weights")
        # A server may hold the weights of another run at the same version.
        self._run = blake2b(str(scratch.resolve()).encode(), digest_size=8).hexdigest()
        self._present: list[Replica] = []  # those that answered last

    def _load(self, version: int) -> None:
        self._present = list(self.replicas)
        lost = self.transfer.push(self.replicas, self._label(version))
        for replica, error in lost.items():
            self._leave_out(replica, error)

    def _leave_out(self, replica: Replica, error: EngineUnavailableError) -> None:
        """Go on without a replica, if there are others.

        Raises:
            EngineUnavailableError: it was the last one.
        """
        if replica in self._present:
            self._present.remove(replica)
            log.warning("going on with %d replicas: %s", len(self._present), error)
        if not self._present:
            raise error

    def _generate(
        self, prompts: Sequence[Tensor], num_samples: int, sampling: Sampling
    ) -> list[list[Completion]]:
        context = int(self.policy.model.config.get_text_config().max_position_embeddings)
        check_context(prompts, sampling.max_tokens, context)
        asked = [
            (number, each)
            for number in range(len(prompts))
            for each in requests(sampling, number, num_samples, self.policy.stop_ids)
        ]
        answered: list[list[Completion] | None] = [None] * len(asked)
        workers = max(1, min(len(asked), self.max_batch_size // num_samples))
        with ThreadPoolExecutor(workers) as pool:
            for _ in range(MAX_ROUNDS):
                missing = [place for place, answer in enumerate(answered) if answer is None]
                if not missing:
                    groups: list[list[Completion]] = [[] for _ in prompts]
                    for (number, _), group in zip(asked, answered, strict=True):
                        groups[number] += group or []
                    return [joined([group], num_samples) for group in groups]
                dealt = [(place, self._replica(sampling.number(asked[place][0]))) for place in missing]
                coming = [
                    pool.submit(self._ask, replica, prompts[asked[place][0]], asked[place][1])
                    for place, replica in dealt
                ]
                for (place, replica), answer in zip(dealt, coming, strict=True):
                    try:
                        answered[place] = answer.result()
                        drawn = asked[place][1]["n"] if sampling.temperature else num_samples
                        self._tell(drawn if answered[place] is not None else 0)
                    except EngineUnavailableError as error:
                        self._leave_out(replica, error)
                for replica in {replica for place, replica in dealt if answered[place] is None}:
                    if replica in self._present:
                        self._give_again(replica)
        raise EngineUnavailableError(
            f"the weights in {', '.join(replica.url for replica in self.replicas)} keep changing: another run pushes to "
            "the same server; give each run servers of its own, then give the same command again"
        )

    def _replica(self, number: int) -> Replica:
        """Whom a prompt goes to, by its number in the whole batch: a rank's share begins where the last one's ended."""
        return self._present[number % len(self._present)]

    def _give_again(self, replica: Replica) -> None:
        """Push to a server that was restarted and has lost the weights, or leave it out."""
        log.warning("%s was restarted and has lost the weights", replica.url)
        try:
            self.transfer.push_again(replica, self._label(self._version))
        except EngineUnavailableError as error:
            self._leave_out(replica, error)

    def _ask(self, replica: Replica, prompt: Tensor, parameters: dict[str, Any]) -> list[Completion] | None:
        """The answer to one request; None where the replica has other weights than it was given."""
        body: dict[str, Any] = {"token_ids": prompt.tolist(), "sampling_params": parameters}
        if self.transfer.model is not None:
            body["model"] = self.transfer.model
        choices = replica.post(GENERATE, body)["choices"]
        if any(
            span["version"] != self._label(self._version) for c in choices for span in c["weight_versions"]
        ):
            return None
        return [self._completion(choice) for choice in sorted(choices, key=lambda choice: choice["index"])]

    def _completion(self, choice: dict[str, Any]) -> Completion:
        return completion(
            choice["token_ids"],
            [token["logprob"] for token in choice["logprobs"]["content"]],
            [
                (int(span["version"].split("-")[1]), span["end"] - span["start"])
                for span in choice["weight_versions"]
            ],
            finished=choice["finish_reason"] == "stop",
        )

    def close(self) -> None:
        self.transfer.close()

    def _label(self, version: int | None) -> str:
        return f"{self._run}-{version}"
