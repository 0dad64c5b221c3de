"""Log-probability and entropy of every response token under the policy: flat, in chunks, row by row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from policies.finite_weights import why_not_finite
from policies.sharding import FORWARD
from policies.statistics.micro_batches import ByRows
from policies.statistics.sequences import Sequences
from policies.statistics.token_statistics import token_statistics
from policies.statistics.vocabulary import VocabularyFilter

if TYPE_CHECKING:  # see loading.py
    from torch import Tensor
    from transformers import PreTrainedModel


_NAMES = ("logprobs", "entropy", "filtered_logprobs", "filtered_entropy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Log-probability and entropy [nats] of every response token, all [T].

    The filtered two are of the distribution cut to a part of the vocabulary, where one was named.
    """

    logprobs: Tensor
    entropy: Tensor
    filtered_logprobs: Tensor | None = None
    filtered_entropy: Tensor | None = None

    @classmethod
    def assembled(
        cls, tokens: Sequence[Tensor], parts: Sequence[Statistics], num_tokens: int | None = None
    ) -> Statistics:
        """Those of ``num_tokens`` tokens from parts, each with the places [t] where its tokens belong.

        A place that is in none of them has nan; None is as many as there are in all.
        """
        length = sum(map(len, tokens)) if num_tokens is None else num_tokens

        def whole(values: Sequence[Tensor]) -> Tensor:
            result = values[0].new_full((length,), math.nan)
            for places, part in zip(tokens, values, strict=True):
                result[places] = part
            return result

        known = [name for name in _NAMES if getattr(parts[0], name) is not None]
        return cls(**{name: whole([getattr(part, name) for part in parts]) for name in known})

    def to(self, device: torch.device | str) -> Statistics:
        """The statistics on a device."""
        return self._map(lambda values: values.to(device))

    def detached(self) -> Statistics:
        """The same numbers without gradient."""
        return self._map(lambda values: values.detach())

    def at(self, tokens: Tensor) -> Statistics:
        """Those of some tokens, [t] int64."""
        return self._map(lambda values: values[tokens.to(values.device)])

    def _map(self, change: Callable[[Tensor], Tensor]) -> Statistics:
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {name: v if v is None else change(v) for name, v in tensors.items()}
        return Statistics(**changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The measured distribution: its temperature, its ids, and the part of the vocabulary it is cut to.

    ``masked_ids`` have a logit and no token (`LoadedPolicy.masked_ids`): they are not sampled, so they are in
    no distribution.
    """

    temperature: float
    masked_ids: tuple[int, ...] = ()
    vocabulary: VocabularyFilter | None = None
    entropy_gradient: bool = False


def check_head(model: PreTrainedModel) -> None:
    """Make sure that the model's logits are W h + b of its last hidden states, as computed below.

    Some families scale or soft-cap what comes out of the head (Gemma 2, Cohere, Granite); statistics
    from their hidden states would be of another distribution than the one that is sampled from.  nan
    equals nothing, so numbers that are not finite are looked for before anything is compared.

    Raises:
        ValueError: they are not, or they are not finite.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear):
        raise ValueError(f"its output head is a {type(head).__name__}, and only a linear one is supported")
    seen: dict[str, Tensor | None] = {}
    hooks = [
        model.get_decoder().register_forward_hook(
            lambda _, __, output: seen.update(last=getattr(output, "last_hidden_state", None))
        ),
        head.register_forward_hook(lambda _, inputs, output: seen.update(hidden=inputs[0], output=output)),
    ]
    try:
        with torch.no_grad():
            ids = torch.arange(4, device=model.device)[None] % len(head.weight)
            logits = model(input_ids=ids, use_cache=False).logits
    finally:
        for hook in hooks:
            hook.remove()
    if not torch.isfinite(logits).all():
        raise ValueError(
            f"its logits are not finite: {why_not_finite(model)}; restore it from a copy, or choose another model"
        )
    if not (_same(seen.get("last"), seen.get("hidden")) and _same(seen.get("output"), logits)):
        raise ValueError(
            "its logits are not its output head applied to its last hidden states: something is scaled or "
            "soft-capped in between, which the token statistics do not follow; choose another model"
        )


def response_statistics(
    model: PreTrainedModel, sequences: Sequences, view: View, scale: Tensor | None = None
) -> Statistics:
    """Statistics of every response token, in float32 from the hidden states, in chunks.

    The logits of the whole batch are never alive.  ``scale`` [T] multiplies the logits of each token.
    """
    # A sharded model has its weights only inside a forward pass, so it has one for this (`sharding.py`).
    run = getattr(model, FORWARD, partial(token_values, model))
    return Statistics(**dict(zip(_NAMES, run(_Job(sequences, view, scale)))))


@dataclass(frozen=True, slots=True)
class _Job:
    sequences: Sequences
    view: View
    scale: Tensor | None


def token_values(model: PreTrainedModel, job: _Job) -> tuple[Tensor, ...]:
    """The values of `Statistics`, in its order; the filtered two where there is a vocabulary."""
    from policies.statistics.hidden_states import hidden_states  # and with it transformers, see loading.py

    sequences, view, scale = job.sequences, job.view, job.scale
    device = model.device
    rows, columns = sequences.places()
    hidden = hidden_states(model, sequences, rows, columns - 1)
    head = model.get_output_embeddings()
    targets = sequences.input_ids[rows, columns].to(device)
    masked = torch.tensor(view.masked_ids, device=device) if view.masked_ids else None

    def statistics(vocabulary: VocabularyFilter | None) -> tuple[Tensor, Tensor]:
        return token_statistics(
            hidden,
            head.weight,
            targets,
            bias=head.bias,
            inverse_temperature=1.0 / view.temperature if scale is None else scale / view.temperature,
            entropy_gradient=view.entropy_gradient,
            vocabulary=vocabulary,
            masked=masked,
        )

    values = statistics(None)
    return values if view.vocabulary is None else values + statistics(view.vocabulary)


def observe(
    model: PreTrainedModel,
    sequences: Sequences,
    view: View,
    *,
    micro_batch_size: int | None = None,
    scale: Tensor | None = None,
) -> Statistics:
    """`response_statistics` without gradient, in pieces of at most ``micro_batch_size`` rows; None is all of them."""
    (pieces,) = ByRows(micro_batch_size).of_ranks(sequences, 1)
    return observe_pieces(model, sequences, view, pieces, scale)


@torch.no_grad()
def observe_pieces(
    model: PreTrainedModel,
    sequences: Sequences,
    view: View,
    pieces: Iterable[Tensor],
    scale: Tensor | None = None,
) -> Statistics:
    """`response_statistics` without gradient of the rows [n] in each piece; tokens of no piece have any value."""
    num_tokens = int(sequences.spoken.sum())
    # Said outright: Lightning's bf16-true makes bfloat16 the default dtype around a training step.
    whole = torch.empty((4, num_tokens), dtype=torch.float32, device=model.device)
    for rows in pieces:
        tokens = sequences.tokens_of(rows).to(model.device)
        cut = None if scale is None else scale[tokens]
        piece = response_statistics(model, sequences.select(rows), view, cut)
        whole[0, tokens], whole[1, tokens] = piece.logprobs, piece.entropy
        if piece.filtered_logprobs is not None and piece.filtered_entropy is not None:
            whole[2, tokens], whole[3, tokens] = piece.filtered_logprobs, piece.filtered_entropy
    return Statistics(**dict(zip(_NAMES, whole if view.vocabulary is not None else whole[:2])))


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and torch.equal(one.float(), other.float())
