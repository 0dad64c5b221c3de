"""vLLM's NCCL transfer on a CPU: its own code on both ends, with gloo as the communicator and no streams."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import torch
from vllm.distributed.weight_transfer import nccl_engine, packed_tensor

from policies.rollouts.vllm_worker import repack_head
from tests.policies.gloo_transfer import GlooGroup

Set = Callable[[Any, str, Any], None]
SMALL_BUFFER_BYTES = 2**12


def without_gpu(put: Set) -> None:
    """What both ends need where there is no accelerator."""
    stream = SimpleNamespace(synchronize=lambda: None)
    put(packed_tensor, "_get_streams", lambda _, number: (stream,) * number)
    put(torch.cuda, "stream", lambda _: nullcontext())
    put(torch.accelerator, "current_device_index", lambda: 0)
    put(torch.accelerator, "synchronize", lambda: None)


def learners_end(put: Set) -> None:
    """The trainer's endpoint, and buffers so small that a model takes several."""
    own = nccl_engine.NCCLTrainerInitInfo
    without_gpu(put)
    put(
        nccl_engine,
        "open_trainer_endpoint",
        lambda info: GlooGroup(info.master_address, info.master_port, 0, info.world_size),
    )
    put(
        nccl_engine,
        "NCCLTrainerInitInfo",
        lambda **given: own(**given, packed_buffer_size_bytes=SMALL_BUFFER_BYTES),
    )


def workers_end(put: Set) -> None:
    """The workers' endpoint."""
    engine = nccl_engine.NCCLWeightTransferEngine
    finish = engine.finish_weight_update

    def finish_on_a_cpu(self: Any) -> None:
        finish(self)
        repack_head(self.model)

    without_gpu(put)
    put(engine, "finish_weight_update", finish_on_a_cpu)
    put(
        nccl_engine,
        "worker_init_process_group",
        lambda info, parallel: GlooGroup(
            info.master_address, info.master_port, parallel.rank + info.rank_offset, info.world_size
        ),
    )
