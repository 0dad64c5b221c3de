"""Causal attention of packed rows: a token attends to its own row alone, through the best kernel that there is.

Rows come as `packed_rows.Segments`.  A model is made to take them once, when it is loaded; whatever else runs it
(an engine that samples, a padded batch) brings no segments and has the attention of transformers as before.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache, lru_cache, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import torch

from policies.statistics.packed_rows import Segments, packed_rows
from policies.statistics.sequences import Sequences, pack

if TYPE_CHECKING:  # see loading.py
    from torch import Tensor
    from transformers import PreTrainedModel

Kernel = Literal["auto", "varlen", "flash", "flex", "sdpa"]
Attend: TypeAlias = "Callable[[Tensor, Tensor, Tensor, Segments, float | None], Tensor]"

HALF_ON_CUDA: tuple[Kernel, ...] = ("varlen", "flash")
"""Kernels of variable length, the better one first: for bfloat16 and float16 on CUDA, and heads of at most 256 that
are a multiple of 8."""

LEAST_FLEX_SIZE = 16
"""The smallest head of torch's flexible attention, which computes in any dtype on CUDA; on a CPU it has no gradient."""

_NAME = "packed_"


def why_absent(kernel: Kernel) -> str | None:
    """Why this machine's software lacks a kernel, and what to do; None where it has it."""
    if kernel == "varlen" and not _torch_has_varlen():
        return f"torch {torch.__version__} has no attention of variable length for grouped heads; install torch 2.13"
    if kernel == "flash" and find_spec("flash_attn") is None:
        return "the package flash-attn is not installed; install it"
    if kernel == "flex" and find_spec("triton") is None:
        return "it is compiled by the package triton, which is not installed; install it"
    return None


def _torch_has_varlen() -> bool:
    if find_spec("torch.nn.attention.varlen") is None:
        return False
    from torch.nn.attention.varlen import varlen_attn

    return {"window_size", "enable_gqa"} <= inspect.signature(varlen_attn).parameters.keys()


def pack_rows(model: PreTrainedModel, kernel: Kernel) -> None:
    """Make a model, in place, one whose token statistics read their rows packed.

    Raises:
        ValueError: it keeps more of earlier tokens than keys and values, or does not hand segments on.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    for each in get_args(Kernel):
        AttentionInterface.register(f"{_NAME}{each}", partial(packed_attention, kernel=each))
        AttentionMaskInterface.register(f"{_NAME}{each}", sdpa_mask)
    cure = "remove learner.tokens_per_micro_batch, or choose another model"
    if model.config._attn_implementation != "sdpa" or not keeps_keys_and_values(model):
        raise ValueError(
            "learner.tokens_per_micro_batch: cannot pack rows of a model that attends by other rules than all earlier "
            f"tokens alike; {cure}"
        )
    model.set_attn_implementation(f"{_NAME}{kernel}")
    ids = torch.arange(6, device="cpu") % model.config.get_text_config().vocab_size
    prompts, responses = (ids[:2], ids[:2], ids[:1]), (ids[2:5], ids[3:5], ids[1:4])
    try:
        with torch.no_grad():
            found = _checked(model, pack(prompts, responses, pad_id=0))
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f"learner.tokens_per_micro_batch: this model does not take packed rows ({error}); {cure}"
        ) from error
    if not found:
        raise ValueError(
            f"learner.tokens_per_micro_batch: this model's packed rows are not what each is by itself; {cure}"
        )


def keeps_keys_and_values(model: PreTrainedModel) -> bool:
    """Whether that, of all tokens alike, is what the model needs to go on; some slide a window or fold a state."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)


def _checked(model: PreTrainedModel, sequences: Sequences) -> bool:
    """Whether packed rows have the hidden states of each row alone."""
    rows, columns = sequences.places()
    packed = packed_hidden_states(model, sequences, rows, columns - 1).float()
    if packed.is_meta:  # its weights are read later; it has handed the segments on all the same
        return True
    alone = [
        model.get_decoder()(input_ids=sequences.input_ids[row : row + 1].to(model.device), use_cache=False)
        .last_hidden_state[0, (columns - 1)[rows == row]]
        .float()
        for row in range(len(sequences.prompt))
    ]
    expected = torch.cat(alone)
    return bool((packed - expected).abs().max() <= 3e-2 * expected.abs().max())


def is_packed(model: PreTrainedModel) -> bool:
    """Whether `pack_rows` was here."""
    return str(model.config._attn_implementation).startswith(_NAME)


def packed_hidden_states(
    model: PreTrainedModel, sequences: Sequences, rows: Tensor, columns: Tensor
) -> Tensor:
    """[T, H] last hidden states at places (row, column) [T], none before the last token of a prompt."""
    packed = packed_rows(sequences)
    device = model.device
    hidden = model.get_decoder()(
        input_ids=sequences.input_ids[packed.rows, packed.columns][None].to(device),
        position_ids=packed.columns[None].to(device),
        # A mask of four dimensions is taken as it is.  No attention but ours can use this one, so a model that
        # loses the segments on the way fails instead of mixing its rows.
        attention_mask=torch.zeros((1, 1, 0, 0), dtype=torch.bool, device=device),
        segments=packed.segments.to(device),
        use_cache=False,
    ).last_hidden_state[0]
    chosen: Tensor = hidden[packed.place[rows, columns].to(device)]
    return chosen


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    kernel: Kernel,
    segments: Segments | None = None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers asks for it: queries [B, Hq, t, D], keys and values [B, Hk, t, D], to [B, t, Hq, D]."""
    if segments is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        given: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
        return given
    for option in ("softcap", "s_aux", "position_bias"):
        if options.get(option) is not None:
            raise TypeError(f"its attention has a {option}")
    query, key, value = (each[0].transpose(0, 1) for each in (query, key, value))
    kind = query.device.type
    # As for torch's own attention; the device of a model without weights has no autocast.
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    if segments.index is not None:
        # Not by brackets, whose gradient is sorted by index before it is added.
        key, value = key.index_select(0, segments.index), value.index_select(0, segments.index)
    return _KERNELS[_choice(kernel, query)](query, key, value, segments, scaling)[None], None


def _choice(kernel: Kernel, query: Tensor) -> Kernel:
    """The kernel for queries like these; ``sdpa`` where the one asked for does not compute them."""
    size = query.shape[-1]
    if kernel == "flex":
        return "flex" if query.is_cuda and size >= LEAST_FLEX_SIZE else "sdpa"
    fits = query.is_cuda and query.dtype in (torch.bfloat16, torch.float16) and size <= 256 and size % 8 == 0
    if not fits:
        return "sdpa"
    return next((name for name in _installed() if kernel in ("auto", name)), "sdpa")


@cache
def _installed() -> tuple[Kernel, ...]:
    return tuple(name for name in HALF_ON_CUDA if why_absent(name) is None)


def _sdpa(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float | None) -> Tensor:
    """Segment by segment, by torch's attention for whole rows: for any device and dtype."""
    from torch.nn.attention.bias import causal_lower_right

    parts = zip(
        torch.split(query.transpose(0, 1), list(segments.queries), dim=1),
        torch.split(key.transpose(0, 1), list(segments.keys), dim=1),
        torch.split(value.transpose(0, 1), list(segments.keys), dim=1),
        strict=True,
    )
    grouped = query.shape[1] != key.shape[1]
    outputs = [
        torch.nn.functional.scaled_dot_product_attention(
            q[None],
            k[None],
            v[None],
            attn_mask=causal_lower_right(q.shape[1], k.shape[1]),
            scale=scale,
            enable_gqa=grouped,
        )[0]
        for q, k, v in parts
    ]
    return torch.cat(outputs, dim=1).transpose(0, 1)


def _varlen(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float | None) -> Tensor:
    """torch's own kernel of variable length (flash attention); its causal mask is aligned to the last key."""
    from torch.nn.attention.varlen import varlen_attn

    output = varlen_attn(
        query.contiguous(),
        key.contiguous(),
        value.contiguous(),
        segments.query_starts,
        segments.key_starts,
        max(segments.queries),
        max(segments.keys),
        scale=scale,
        window_size=(-1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(output, torch.Tensor)  # alone, since nothing else was asked for
    return output


def _flash(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float | None) -> Tensor:
    """The package flash-attn, aligned in the same way since its 2.1."""
    from flash_attn import flash_attn_varlen_func  # type: ignore[import-not-found,unused-ignore]

    output: Tensor = flash_attn_varlen_func(
        query,
        key,
        value,
        segments.query_starts,
        segments.key_starts,
        max(segments.queries),
        max(segments.keys),
        softmax_scale=scale,
        causal=True,
    )
    return output


def _flex(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float | None) -> Tensor:
    """torch's flexible attention, which passes over the blocks of queries and keys that the mask leaves empty."""
    output = _flexible(query.is_cuda)(
        *(each.transpose(0, 1)[None] for each in (query, key, value)),
        block_mask=_block_mask(segments),
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(output, torch.Tensor)  # alone, since nothing else was asked for
    return output[0].transpose(0, 1)


@cache
def _flexible(is_compiled: bool) -> Callable[..., Any]:
    """Without a compiler it makes all scores at once.  Shapes are dynamic, or each micro-batch would compile it again."""
    from torch.nn.attention.flex_attention import flex_attention

    chosen: Callable[..., Any] = flex_attention
    return torch.compile(chosen, dynamic=True) if is_compiled else chosen


@lru_cache(maxsize=1)  # all layers have the same
def _block_mask(segments: Segments) -> Any:
    """The pairs of query and key of one segment, none of them with a key that is nearer to the end than the query."""
    from torch.nn.attention.flex_attention import create_block_mask

    of_query, queries_to_end = _places(segments.query_starts)
    of_key, keys_to_end = _places(segments.key_starts)

    def is_seen(_: Tensor, __: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (of_query[query] == of_key[key]) & (keys_to_end[key] >= queries_to_end[query])

    return create_block_mask(
        is_seen, None, None, len(of_query), len(of_key), device=str(segments.query_starts.device)
    )


def _places(starts: Tensor) -> tuple[Tensor, Tensor]:
    """The segment of each token, and how many tokens there are from it to the end of its segment."""
    lengths = starts.diff()
    segment = torch.repeat_interleave(torch.arange(len(lengths), device=starts.device), lengths)
    return segment, starts[1:][segment] - torch.arange(len(segment), device=starts.device)


_KERNELS: dict[str, Attend] = {"varlen": _varlen, "flash": _flash, "flex": _flex, "sdpa": _sdpa}
