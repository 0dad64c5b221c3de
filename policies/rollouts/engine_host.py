"""The process that hosts an engine: it loads weights from a folder and samples, as it is told."""

from __future__ import annotations

import io
import pickle
import signal
import traceback
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from policies.model.loading import LoadedPolicy, load_pretrained
from policies.rollouts.base import Completion, RolloutEngine, Sampling
from policies.rollouts.open_in_process import open_in_process
from policies.rollouts.settings import EngineSettings
from policies.rollouts.weights import tied_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What the process is started with."""

    settings: EngineSettings
    folder: Path
    """The model folder of the first push, which is there until that has ended."""
    max_batch_size: int
    stop_ids: tuple[int, ...]
    """Those of the learner's policy; a model folder would bring those of its configuration."""
    device: str
    half: bool
    """Whether to sample under bfloat16 autocast, as a learner of that precision would."""
    num_threads: int


@dataclass(frozen=True, slots=True)
class Failure:
    """The answer of a host that could not do what it was asked."""

    reason: str
    device_full: bool


def packed(message: Any) -> bytes:
    """A message for `pickle.loads`; its tensors, on the CPU and without gradient, go as plain arrays.

    torch pickles each as a file of its own, which takes 40 ms of a thousand, and 60 to read; its multiprocessing shares
    each by a file descriptor.
    """
    content = io.BytesIO()
    pickler = pickle.Pickler(content, protocol=pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = {Tensor: _as_array}
    pickler.dump(message)
    return content.getvalue()


def _as_array(tensor: Tensor) -> tuple[Any, ...]:
    return torch.from_numpy, (tensor.numpy(),)


def serve(connection: Connection, host: Host) -> None:
    """Answer until the other end is gone.

    Signals to the whole group are the learner's business: it may still save what is being sampled.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(host.num_threads)
    hosted: _Hosted | None = None
    try:
        while True:
            what, arguments = pickle.loads(connection.recv_bytes())  # nosec B301  # of the process that started this one
            try:
                hosted = hosted or _Hosted(host)
                answer = getattr(hosted, what)(*arguments)
            except Exception as error:
                traceback.print_exc()
                answer = Failure(
                    f"{type(error).__name__}: {error}", device_full=isinstance(error, torch.OutOfMemoryError)
                )
            connection.send_bytes(packed(answer))
    except (EOFError, OSError):  # the learner has ended, and with it the reason to be here
        pass


class _Hosted:
    """A copy of the policy and the engine that samples from it."""

    def __init__(self, host: Host) -> None:
        from transformers import GenerationConfig

        self.host = host
        policy = replace(load_pretrained(str(host.folder)), extra_stop_ids=host.stop_ids)
        policy.model.generation_config = GenerationConfig(eos_token_id=list(host.stop_ids))
        self.device = torch.device(host.device)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        policy.model.to(self.device)
        self.policy: LoadedPolicy = policy
        self.engine: RolloutEngine = open_in_process(
            host.settings, policy, max_batch_size=host.max_batch_size
        )

    def load(self, version: int, folder: Path) -> None:
        """Take the weights of a model folder."""
        from safetensors.torch import load_file

        model = self.policy.model
        weights = load_file(folder / "model.safetensors")
        missing, unexpected = model.load_state_dict(weights, strict=False)
        assert not unexpected, unexpected
        assert set(missing) <= tied_names(model), missing
        self.engine.push(version)

    def generate(self, prompts: list[Tensor], num_samples: int, sampling: Sampling) -> list[list[Completion]]:
        """`RolloutEngine.generate` with the weights that were loaded last."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.host.half):
            return self.engine.generate(prompts, num_samples, sampling)
