"""All servers as one receiver of weights: what vLLM's trainer asks of one, asked of all at the same time."""

from __future__ import annotations

import pickle  # nosec B403  # handles of GPU memory are written here, and never read
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

from policies.rollouts.base import EngineUnavailableError
from policies.rollouts.replica import (
    AGAIN,
    Answer,
    RefusedRequestError,
    Replica,
    UnansweredError,
    ask_all,
)


class ReplicaGroup:
    """vLLM's ``VLLMWeightSyncClient`` for several servers.

    The learner has rank 0 of the transfer, and the workers of each server the ranks after those of the server
    before.  So one broadcast reaches all of them.
    """

    def __init__(
        self,
        replicas: Sequence[Replica],
        *,
        backend: str,
        masked_ids: Sequence[int],
        give_up: Callable[[], None],
    ) -> None:
        """A group without members yet.

        Args:
            replicas: the servers, in the order of their ranks.
            backend: vLLM's name of the transfer.
            masked_ids: ids that the servers are never to sample.
            give_up: wakes the learner, who waits for a server that is lost in the middle of a push.
        """
        self.replicas = replicas
        self.backend = backend
        self.masked_ids = list(masked_ids)
        self.give_up = give_up
        self.label = ""  # what the weights of this push are called
        self.failure: Exception | None = None  # why the group is broken; all other errors come of it
        self._offsets: dict[Replica, int] = {}
        self._given: str | None = None  # what the weights of the last push were called

    def meet(self) -> int:
        """Make sure that all servers take weights this way; gives the number of their workers.

        What a learner before this one has left behind in them is let go of.

        Raises:
            EngineUnavailableError: a server does not answer, or takes no weights this way.
        """
        workers, offset = self._ask(self._workers), 1
        for replica in self.replicas:
            self._offsets[replica] = offset
            offset += workers[replica]
        return offset - 1

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Let all workers join the learner, those of each server under ranks of their own."""

        def join(replica: Replica) -> None:
            own = {"rank_offset": self._offsets[replica]} if "rank_offset" in init_info else {}
            replica.once.post("/init_weight_transfer_engine", {"init_info": init_info | own})

        self._ask(join)

    def start_weight_update(self) -> None:
        """Let no server sample any more; requests that were given up may still be running."""

        def start(replica: Replica) -> None:
            if self._given is not None and replica.get("/weight_info")["weight_version"] != self._given:
                raise restarted(replica)
            replica.post("/pause?mode=abort")
            replica.once.post("/start_weight_update")

        self._ask(start)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Let all workers receive what the learner sends meanwhile."""
        body = {"update_info": in_json(update_info)}

        def receive(replica: Replica) -> None:
            try:
                replica.once.post("/update_weights", body)
            except (UnansweredError, RefusedRequestError) as error:
                reason = error.reason if isinstance(error, UnansweredError) else str(error)
                raise EngineUnavailableError(
                    f"the rollout server {replica.url} was lost in the middle of a push ({reason}); the others may wait "
                    f"for it for ever: start all of them again, {AGAIN}"
                ) from error

        try:
            self._ask(receive)
        except EngineUnavailableError:
            self.give_up()
            raise

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Let all servers sample with the new weights."""
        self._given = weight_version or self.label

        def finish(replica: Replica) -> None:
            replica.once.post("/finish_weight_update", {"weight_version": self._given})
            replica.post("/collective_rpc", {"method": "mask_ids", "args": [self.masked_ids]})
            replica.post("/reset_prefix_cache")
            replica.post("/resume")

        self._ask(finish)

    def part(self) -> None:
        """Let the workers leave the group, where they answer."""
        list(ask_all(self.replicas, lambda each: each.once.post("/shutdown_weight_transfer_engine")))

    def _workers(self, replica: Replica) -> int:
        replica.get("/health")
        try:
            taken = replica.once.post("/collective_rpc", {"method": "transfer_backends"})["results"]
            if [self.backend] not in taken:
                raise RefusedRequestError(f"it takes {taken[0] or 'none'}")
            replica.once.post("/shutdown_weight_transfer_engine")
            return int(replica.once.get("/get_world_size")["world_size"])
        except (UnansweredError, RefusedRequestError) as error:
            reason = error.reason if isinstance(error, UnansweredError) else str(error)
            raise EngineUnavailableError(
                f"the rollout server {replica.url} takes no weights over {self.backend!r} ({reason}); start it with "
                f"python -m policies.rollouts.vllm_launch MODEL --transfer {self.backend}, {AGAIN}"
            ) from error

    def _ask(self, ask: Callable[[Replica], Answer]) -> dict[Replica, Answer]:
        """The answers of all servers; the first failure is raised, without waiting for the others."""
        answers: dict[Replica, Answer] = {}
        for replica, answer in ask_all(self.replicas, ask):
            if isinstance(answer, Exception):
                self.failure = answer
                raise answer
            answers[replica] = answer
        return answers


def restarted(replica: Replica) -> EngineUnavailableError:
    """The error of a server that has other weights than it was given."""
    return EngineUnavailableError(
        f"the rollout server {replica.url} was restarted and has lost the policy's weights; {AGAIN}"
    )


def in_json(update_info: dict[str, Any]) -> dict[str, Any]:
    """Handles of GPU memory as vLLM takes them over HTTP; all else is plain already."""
    if (handles := update_info.get("ipc_handles")) is None:
        return update_info
    plain = {key: value for key, value in update_info.items() if key != "ipc_handles"}
    return plain | {"ipc_handles_pickled": b64encode(pickle.dumps(handles)).decode()}
