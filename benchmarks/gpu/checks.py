"""The checks, in the order of their value, each with the time that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Check:
    """One row: what is checked, and the function that does it."""

    number: int
    title: str
    where: str
    """``module:function``, imported when the check runs, since it may need what is not installed."""
    seconds: float
    """On an H200; the check is skipped where less is left."""
    tiny_seconds: float = 5.0
    """The same at the tiny sizes of a CPU."""


_HERE = "benchmarks.gpu"

CHECKS: Final = (
    Check(0, "versions and imports", f"{_HERE}.software:versions_and_imports", 15, 20),
    Check(1, "every preset, and a run beside the CPU's", f"{_HERE}.runs:presets", 90, 30),
    Check(2, "host synchronisations", f"{_HERE}.synchronisations:host_synchronisations", 20),
    Check(3, "token statistics", f"{_HERE}.head:token_statistics_of_a_large_vocabulary", 60),
    Check(4, "attention kernels", f"{_HERE}.attention:attention_kernels", 45),
    Check(5, "a model of 1.5B", f"{_HERE}.throughput:forward_and_training", 90),
    Check(6, "push of a model of 7B", f"{_HERE}.push:push_to_buffers", 45),
    Check(7, "FSDP2 on a mesh of one", f"{_HERE}.spread:mesh_of_one", 45, 10),
    Check(8, "memory after ragged updates", f"{_HERE}.fragmentation:free_after_ragged_updates", 30),
    Check(9, "weights that move, by precision", f"{_HERE}.optimiser:weights_that_move", 20),
    Check(10, "AdamW of 1.5B", f"{_HERE}.optimiser:step_of_adamw", 15),
    Check(11, "sensors and packing", f"{_HERE}.sensing:sensors_and_packing", 15),
    Check(12, "the transformers engine", f"{_HERE}.engine:samples_and_their_log_probs", 20),
    Check(13, "a PI loop beside the CPU's", f"{_HERE}.runs:pi_loop", 30, 20),
)

VLLM_CHECKS: Final = (
    Check(0, "sleep and wake under a loaded learner", f"{_HERE}.colocated:sleep_and_wake", 150),
    Check(1, "push to a server over NCCL", f"{_HERE}.servers:nccl_transfer", 150),
    Check(2, "episodes of unequal turns on two ranks", f"{_HERE}.processes:unequal_turns", 180),
    Check(3, "a server that is killed", f"{_HERE}.servers:killed_server", 120),
    Check(4, "a rank that is killed", f"{_HERE}.processes:killed_rank", 90, 60),
    Check(5, "from SIGTERM to saved", f"{_HERE}.processes:stopped_run", 60, 30),
)
"""For a machine with vLLM and two GPUs or more; the last two run anywhere."""
