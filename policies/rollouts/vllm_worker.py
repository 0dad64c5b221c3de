"""Extends a vLLM worker: it takes pushed weights and ignores ids without a token.  vLLM imports this module,
in its own process or ours.

``--worker-extension-cls policies.rollouts.vllm_worker.PushedWeights``
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

EXTENSION = "policies.rollouts.vllm_worker.PushedWeights"


class PushedWeights:
    """Mixed into vLLM's worker class, whose names these must not repeat."""

    reload_weights: Any
    model_runner: Any
    vllm_config: Any

    def transfer_backends(self) -> list[str]:
        """What the server was started with to take weights from GPU to GPU, by vLLM's name; at most one."""
        config = self.vllm_config.weight_transfer_config
        return [] if config is None else [config.backend]

    def push_tensors(self, weights: Iterable[tuple[str, Tensor]], masked_ids: Sequence[int] = ()) -> None:
        """Take weights by the names of a checkpoint; vLLM fuses and shards them itself."""
        self.reload_weights(weights_iterator=iter(weights))
        repack_head(self.model_runner.get_model())
        self.mask_ids(masked_ids)

    def push_folder(self, folder: str, masked_ids: Sequence[int] = ()) -> None:
        """Take the weights of a model folder that this machine sees."""
        self.reload_weights(weights_path=folder)
        repack_head(self.model_runner.get_model())
        self.mask_ids(masked_ids)

    def mask_ids(self, masked_ids: Sequence[int]) -> None:
        """Never sample these from now on, and all others."""
        mask_logits(self.model_runner.get_model(), masked_ids)


def mask_logits(model: Any, masked_ids: Sequence[int]) -> None:
    """Make these logits of a vLLM model -inf as they leave it, and no others: before it samples and takes log-probs.

    A request can name ids too, but 1024 at most, forbidden or allowed (vLLM 0.32), and a vocabulary may be
    padded by more.
    """
    vars(model).pop("compute_logits", None)  # the mask of before, if any
    if not masked_ids:
        return
    whole = model.compute_logits
    masked = torch.tensor(list(masked_ids), device=next(model.parameters()).device)

    def compute_logits(*given: Any, **named: Any) -> Any:
        logits = whole(*given, **named)
        return None if logits is None else logits.index_fill_(-1, masked, -math.inf)  # None on a rank without

    model.compute_logits = compute_logits


def repack_head(model: Any) -> None:
    """Repack the output head.

    On a CPU linear layers multiply with a packed copy of their weight, which a reload renews for each
    layer that it loads.  A head tied to the embeddings is not loaded, and keeps the old copy (vLLM 0.32).
    """
    from vllm.platforms import current_platform

    head: Any = getattr(model, "lm_head", None)
    if current_platform.is_cpu() and hasattr(head, "quant_method"):
        head.quant_method.process_weights_after_loading(head)
