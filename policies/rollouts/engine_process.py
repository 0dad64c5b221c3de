"""An engine in a process of its own, so that it samples while the learner updates."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from policies.rollouts.base import Completion, EngineUnavailableError, Sampling
from policies.rollouts.engine_host import Failure, Host, packed, serve
from policies.rollouts.settings import EngineSettings
from policies.rollouts.weight_pushing import PushedEngine
from policies.rollouts.weight_transfer import rank
from policies.rollouts.weights import save_weights

if TYPE_CHECKING:
    from policies.model.loading import LoadedPolicy

LAST_SECONDS = 10.0
"""Longest wait for the exit code of a process that answers no more [s]."""


class EngineProcess(PushedEngine):
    """Hosts an engine that would else sample in the learner's process, with a copy of the policy.

    Weights go there as a model folder on this machine's own disk, in its temporary folder (``TMPDIR``), which is gone
    when the push has ended.  A process that is killed in a push leaves it, and the next start of the same run on this
    machine removes it.  The process is spawned at the first use, on the learner's device; it ends with this one,
    however that ends.  Each rank has its own.
    """

    def __init__(
        self,
        policy: LoadedPolicy,
        settings: EngineSettings,
        *,
        max_batch_size: int,
        scratch: Path,
        half: bool = False,
    ) -> None:
        """``scratch`` tells this run from others by its path; ``half`` samples under bfloat16 autocast."""
        super().__init__(policy, push_every=getattr(settings, "push_every", 1))
        self.settings = settings
        self.max_batch_size = max_batch_size
        self._run = blake2b(str(scratch.resolve()).encode(), digest_size=8).hexdigest()
        self.half = half
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    @property
    def process_id(self) -> int | None:
        """Number of the process; None before it is started."""
        return self._process.pid if self._process else None

    def _load(self, version: int) -> None:
        # Here, since ranks have numbers when the first weights are pushed, and not before.
        prefix = f"entrostat-weights-{self._run}-{rank()}-"
        for left_over in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
            shutil.rmtree(left_over, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=prefix) as temporary:
            folder = Path(temporary) / "weights"
            save_weights(self.policy, folder)
            if self._process is None:
                self._start(folder)
            self._ask("load", version, folder)

    def _generate(
        self, prompts: Sequence[Tensor], num_samples: int, sampling: Sampling
    ) -> list[list[Completion]]:
        if not prompts:  # of a rank that has no share of a small batch
            return []
        groups = self._ask("generate", list(prompts), num_samples, sampling)
        return [[self._dated(completion) for completion in group] for group in groups]

    def _dated(self, completion: Completion) -> Completion:
        """A completion with the version of the weights, where the engine itself has not said it."""
        if completion.versions is not None:
            return completion
        assert self._version is not None
        return replace(
            completion, versions=torch.full_like(completion.logprobs, self._version, dtype=torch.int64)
        )

    def _start(self, folder: Path) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._connection, theirs = spawning.Pipe()
        host = Host(
            settings=self.settings,
            folder=folder,
            max_batch_size=self.max_batch_size,
            stop_ids=self.policy.stop_ids,
            device=str(self.policy.model.device),
            half=self.half,
            num_threads=torch.get_num_threads(),
        )
        self._process = spawning.Process(target=serve, args=(theirs, host), daemon=True)
        self._process.start()
        theirs.close()  # so that the end of the process is the end of the connection

    def _ask(self, what: str, *arguments: Any) -> Any:
        """What the process answers.

        Raises:
            EngineUnavailableError: the process has ended.
            RuntimeError: it failed, and says why; torch's `OutOfMemoryError` where the device was full.
        """
        assert self._connection is not None
        assert self._process is not None
        try:
            self._connection.send_bytes(packed((what, arguments)))
            answer = pickle.loads(self._connection.recv_bytes())  # nosec B301  # of the process that was started here
        except (EOFError, OSError) as error:
            self._process.join(timeout=LAST_SECONDS)
            raise EngineUnavailableError(
                f"the process of the rollout engine {self.settings.kind!r} has ended (exit code "
                f"{self._process.exitcode}; -9 is often a lack of memory) while it was to {what}; give the same "
                "command again: the run continues from its last checkpoint"
            ) from error
        if isinstance(answer, Failure):
            kind = torch.OutOfMemoryError if answer.device_full else RuntimeError
            raise kind(f"the process of the rollout engine {self.settings.kind!r}: {answer.reason}")
        return answer

    def close(self) -> None:
        if self._process is None:
            return
        assert self._connection is not None
        self._process.kill()  # it holds nothing that has to be kept
        self._process.join()
        self._connection.close()
        self._process = self._connection = None
