"""Log-probability of the sampled token and full-vocabulary entropy, both with gradient, in chunks.

With logits z = β (W h + b), shifted by their maximum m so that z' = z - m <= 0, and S = Σ_v exp z'_v:

    log π_a = z'_a - ln S
    H       = ln S - Σ_v π_v z'_v                                    [nats]

    ∂ log π_a / ∂z_v = 1[v = a] - π_v
    ∂ H       / ∂z_v = -π_v (log π_v + H)

(METHODS 1.2; the second line is the gradient that an entropy bonus descends.)  S >= 1 and z' <= 0, so
log π <= 0 and H >= 0 hold in floating point too, without a clamp; only H <= ln V needs one, against
the last bit.  The maximum is taken out before anything is summed, so logits of any size are safe.

A dense path keeps several [T, V] tensors between forward and backward.  Here no [T, V] tensor exists:
each chunk of tokens makes its logits, reduces them to two numbers a token, and makes them again in
the backward pass.  This takes one more matrix product than the dense path, and fewer passes
over the vocabulary (see benchmarks/token_statistics.py).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from policies.statistics.vocabulary import VocabularyFilter

CHUNK_BYTES, GPU_CHUNK_BYTES = 64 * 2**20, 640 * 2**20
"""Size of one [chunk, V] buffer of logits, on a CPU and elsewhere; two such buffers are alive at a time.

A CPU is fastest while a buffer is near its caches.  A GPU needs a matrix product of a thousand tokens to be busy,
which the larger one holds at a vocabulary of 152,000."""

NEGLIGIBLE = -80.0
"""Shifted logits below this (π < 2e-35) are raised to it.  It keeps 0 · -inf out of the entropy and
subnormal numbers, ten times slower on a CPU, out of exp."""


def token_statistics(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    bias: Tensor | None = None,
    inverse_temperature: float | Tensor = 1.0,
    chunk_tokens: int | None = None,
    entropy_gradient: bool = True,
    vocabulary: VocabularyFilter | None = None,
    masked: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Log-probability [T] of ``targets`` and entropy [T] of the whole distribution [nats].

    Args:
        hidden: [T, D] last hidden states.
        weight: [V, D] of the output head.
        targets: [T] int64, the sampled tokens.
        bias: [V] of the output head; -inf takes an entry out of the vocabulary.
        inverse_temperature: β, one number or one a token [T]; a constant, no gradient reaches it.
        chunk_tokens: tokens a chunk; by default as many as `tokens_of_chunk` says.
        entropy_gradient: False gives a detached entropy, whose backward then costs nothing.
        vocabulary: cuts the distribution to a part of the vocabulary and renormalises it; a target that
            was cut off has a log-probability of about ``NEGLIGIBLE`` and no gradient.
        masked: [M] int64, different entries that are never sampled: the whole distribution is that of the other
            V - M, before any ``vocabulary``.  None is all V, at no cost.

    Both results are float32 (float64 for float64 hidden states) whatever the dtype of the head.  The
    product W h runs in the autocast dtype where autocast is on and otherwise in the wider dtype of
    ``hidden`` and ``weight``, as the model's own head would, so the statistics are of the
    distribution that was sampled from.  A token whose logits are not finite gives nan, not an error.
    """
    T, D = hidden.shape
    V = weight.shape[0]
    _check("weight", weight, (V, D))
    _check("targets", targets, (T,))
    if bias is not None:
        _check("bias", bias, (V,))
    if isinstance(inverse_temperature, Tensor):
        _check("inverse_temperature", inverse_temperature, (T,))
    if chunk_tokens is None:
        chunk_tokens = tokens_of_chunk(hidden.device, V)
    if chunk_tokens < 1:
        raise ValueError(f"chunk_tokens must be at least 1, got {chunk_tokens}")

    device = hidden.device.type
    dtype = torch.promote_types(hidden.dtype, weight.dtype)
    if torch.is_autocast_enabled(device) and dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)
    # Autocast is off inside, forward and backward alike, so that both see the same logits.
    with torch.autocast(device, enabled=False):
        result: tuple[Tensor, Tensor] = _TokenStatistics.apply(  # type: ignore[no-untyped-call]
            hidden.to(dtype),
            weight.to(dtype),
            bias,
            targets,
            inverse_temperature,
            chunk_tokens,
            entropy_gradient,
            vocabulary,
            masked,
        )
    return result


def tokens_of_chunk(device: torch.device, vocabulary: int) -> int:
    """Tokens whose logits are made at once on a device."""
    size = CHUNK_BYTES if device.type == "cpu" else GPU_CHUNK_BYTES
    return max(1, size // (vocabulary * 4))


class _TokenStatistics(torch.autograd.Function):
    """Forward keeps m, ln S and H, three numbers a token; backward recomputes the logits."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        inverse_temperature: float | Tensor,
        chunk_tokens: int,
        entropy_gradient: bool,
        vocabulary: VocabularyFilter | None,
        masked: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        chunks = _Chunks(hidden, weight, bias, inverse_temperature, chunk_tokens, masked)
        peak, log_sum, logprobs, entropy = hidden.new_empty((4, len(hidden)), dtype=chunks.dtype)
        for rows in chunks.slices:
            logits, spare = chunks.logits(rows)
            peak[rows] = logits.amax(dim=1)
            shifted = chunks.cut(logits.sub_(peak[rows, None]), vocabulary)
            of_target = shifted.gather(1, targets[rows, None])[:, 0]
            exponentials = torch.exp(shifted.clamp_(min=NEGLIGIBLE), out=spare)
            total = exponentials.sum(dim=1)
            log_sum[rows] = total.log()
            logprobs[rows] = of_target - log_sum[rows]
            entropy[rows] = log_sum[rows] - exponentials.mul_(shifted).sum(dim=1) / total
        logprobs, entropy = logprobs.clone(), entropy.clamp(max=math.log(weight.shape[0] - chunks.num_masked))

        ctx.set_materialize_grads(False)
        if not entropy_gradient:
            ctx.mark_non_differentiable(entropy)
        ctx.save_for_backward(hidden, weight, bias, targets, peak, log_sum, entropy)
        ctx.inverse_temperature, ctx.chunk_tokens = inverse_temperature, chunk_tokens
        ctx.vocabulary, ctx.masked = vocabulary, masked
        return logprobs, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_logprobs: Tensor | None, to_entropy: Tensor | None) -> tuple[Any, ...]:
        hidden, weight, bias, targets, peak, log_sum, entropy = ctx.saved_tensors
        chunks = _Chunks(hidden, weight, bias, ctx.inverse_temperature, ctx.chunk_tokens, ctx.masked)
        if to_logprobs is None:
            to_logprobs = torch.zeros_like(peak)
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        # Sums over tokens are kept in the dtype of the statistics and rounded once, at the end.
        to_hidden = torch.empty_like(hidden) if needs_hidden else None
        to_weight = torch.zeros_like(weight, dtype=chunks.dtype) if needs_weight else None
        to_bias = torch.zeros_like(bias, dtype=chunks.dtype) if needs_bias else None

        with torch.autocast(hidden.device.type, enabled=False):
            for rows in chunks.slices:
                logits, spare = chunks.logits(rows)
                β = chunks.inverse_temperature(rows)
                shifted = chunks.cut(logits.sub_(peak[rows, None]), ctx.vocabulary).clamp_(min=NEGLIGIBLE)
                of_target = to_logprobs[rows] * β
                if ctx.vocabulary is not None:
                    of_target = of_target * (shifted.gather(1, targets[rows, None])[:, 0] > NEGLIGIBLE)
                to_logits = _logit_gradient(
                    shifted,
                    spare,
                    targets[rows],
                    log_sum[rows],
                    entropy[rows],
                    of_target,
                    None if to_entropy is None else to_entropy[rows] * β,
                )
                if to_bias is not None:
                    to_bias += to_logits.sum(dim=0)
                to_logits = to_logits.to(hidden.dtype)
                if to_hidden is not None:
                    torch.mm(to_logits, weight, out=to_hidden[rows])
                if to_weight is not None:
                    _add_product(to_weight, to_logits.T, hidden[rows])

        to_weight = None if to_weight is None else to_weight.to(weight.dtype)
        to_bias = None if to_bias is None else to_bias.to(bias.dtype)
        return to_hidden, to_weight, to_bias, None, None, None, None, None, None


def _logit_gradient(
    shifted: Tensor,
    spare: Tensor,
    targets: Tensor,
    log_sum: Tensor,
    entropy: Tensor,
    to_logprobs: Tensor,
    to_entropy: Tensor | None,
) -> Tensor:
    """1[v = a] g - π_v (g + k (z'_v - ln S + H)) for upstream gradients g of log π and k of H [c, V].

    Works inside its two [c, V] buffers, ``shifted`` (holding z') and ``spare``, and returns one of them.
    """
    exponentials = torch.exp(shifted, out=spare)
    normaliser = torch.exp(-log_sum)  # 1/S goes into the factors, which are [c], not [c, V]
    if to_entropy is None:
        gradient = exponentials.mul_(-(to_logprobs * normaliser)[:, None])
    else:
        slope = -to_entropy * normaliser
        constant = (to_logprobs + to_entropy * (entropy - log_sum)) * normaliser
        gradient = shifted.mul_(slope[:, None]).sub_(constant[:, None]).mul_(exponentials)
    gradient[torch.arange(len(targets), device=targets.device), targets] += to_logprobs
    return gradient


class _Chunks:
    """Slices of tokens, and two [chunk, V] buffers that every slice writes into again."""

    def __init__(
        self,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        inverse_temperature: float | Tensor,
        size: int,
        masked: Tensor | None,
    ) -> None:
        self.dtype = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        self._hidden, self._weight, self._bias = hidden, weight, bias
        self._inverse_temperature = inverse_temperature
        self._masked = masked
        self.num_masked = 0 if masked is None else len(masked)
        self.slices = [slice(i, min(i + size, len(hidden))) for i in range(0, len(hidden), size)]
        shape = (min(size, len(hidden)), weight.shape[0])
        self._buffers = tuple(torch.empty(shape, dtype=self.dtype, device=hidden.device) for _ in range(2))

    def inverse_temperature(self, rows: slice) -> float | Tensor:
        """β, or its [c] values in the dtype of the statistics."""
        β = self._inverse_temperature
        return β[rows].to(self.dtype) if isinstance(β, Tensor) else β

    def logits(self, rows: slice) -> tuple[Tensor, Tensor]:
        """β (W h + b) of these tokens [c, V], -inf where masked, and a second buffer of that shape."""
        hidden = self._hidden[rows]
        logits, spare = (buffer[: len(hidden)] for buffer in self._buffers)
        if hidden.dtype == self.dtype:
            torch.mm(hidden, self._weight.T, out=logits)
        else:
            logits.copy_(hidden @ self._weight.T)
        if self._bias is not None:
            logits.add_(self._bias)
        β = self.inverse_temperature(rows)
        if isinstance(β, Tensor):
            logits.mul_(β[:, None])
        elif β != 1.0:
            logits.mul_(β)
        if self._masked is not None:
            logits.index_fill_(1, self._masked, -math.inf)
        return logits, spare

    def cut(self, shifted: Tensor, vocabulary: VocabularyFilter | None) -> Tensor:
        """Shifted logits [c, V] with what the filter drops made ``NEGLIGIBLE``, in place."""
        if vocabulary is None:
            return shifted
        return shifted.masked_fill_(~vocabulary.keep(shifted, self.num_masked), NEGLIGIBLE)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, fused where the dtypes allow."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


def _check(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tensor.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(tensor.shape)}")
