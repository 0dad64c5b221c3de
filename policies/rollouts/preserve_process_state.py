"""Undoes an engine's side effects on the learner in the same process: random states, default dtype, threads."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leave the process as it was found, whatever happens inside.

    vLLM seeds Python's, NumPy's and torch's generators when it starts (docs.vllm.ai, "Reproducibility"), and
    on a CPU it replaces `torch.set_num_threads` by a function that does nothing.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    dtype, threads, set_num_threads = (
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.set_num_threads,
    )
    with torch.random.fork_rng():  # of all CUDA devices, too
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
            torch.set_default_dtype(dtype)
            torch.set_num_threads = set_num_threads
            torch.set_num_threads(threads)
