"""What a vLLM worker is taught: to take pushed weights.  Imported by vLLM, in its own process or ours.

``--worker-extension-cls policies.rollouts.vllm_worker.PushedWeights``
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

EXTENSION = "policies.rollouts.vllm_worker.PushedWeights"


class PushedWeights:
    """Mixed into vLLM's worker class, whose names these must not repeat."""

    reload_weights: Any
    model_runner: Any

    def push_tensors(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take weights by the names of a checkpoint; vLLM fuses and shards them itself."""
        self.reload_weights(weights_iterator=iter(weights))
        repack_head(self.model_runner.get_model())

    def push_folder(self, folder: str) -> None:
        """Take the weights of a model folder that this machine sees."""
        self.reload_weights(weights_path=folder)
        repack_head(self.model_runner.get_model())


def repack_head(model: Any) -> None:
    """Pack the output head anew.

    On a CPU linear layers multiply with a packed copy of their weight, which a reload makes anew for each
    layer that it loads.  A head tied to the embeddings is not loaded, and keeps the old copy (vLLM 0.32).
    """
    from vllm.platforms import current_platform

    head: Any = getattr(model, "lm_head", None)
    if current_platform.is_cpu() and hasattr(head, "quant_method"):
        head.quant_method.process_weights_after_loading(head)
