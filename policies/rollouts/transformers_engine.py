"""Rollouts by transformers ``generate``: batches with a KV cache, in the learner's own process."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import (
    DynamicCache,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.cache_utils import DynamicLayer

from policies.finite_weights import CURE, why_not_finite
from policies.rollouts.addressed_sampling import draw, uniforms
from policies.rollouts.base import Completion, RolloutEngine, Sampling, check_context
from policies.rollouts.growing_cache import GrowingLayer
from policies.sharding import whole

LEAST_ROWS = 8
"""A batch is not cut below this: fewer take as long, and some kernels round one to three rows otherwise than many."""
LEAST_STEPS = 16
"""Nor is it cut where fewer tokens than this may follow: to begin again takes a few steps' time."""


class _Sampler(LogitsProcessor):  # type: ignore[misc]
    """Chooses the tokens itself and keeps their log-probabilities.

    It gives a chosen token the score +inf, so that `generate`, which believes it is greedy, takes it.
    ``generate(output_scores=True)`` would keep all [steps, batch, vocabulary] scores; this keeps a number
    a token.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        ids: Tensor | None,
        temperature: float,
        chance: Tensor,
        greedy: Tensor | None,
    ) -> None:
        self.model = model
        self.ids = ids  # those that can be sampled; None is all
        self.temperature = temperature  # 0 is greedy
        self.chance = chance  # [B, steps] uniform in [0, 1)
        self.greedy = greedy  # [B] bool, the rows that are although the others are sampled; None is none
        self.logprobs: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        step = len(self.logprobs)
        # Others are left out, not made -inf: cumulative sums on a GPU can differ by a rounding where nothing was added.
        among = scores if self.ids is None else scores.index_select(-1, self.ids)
        raw = among.float()
        logits = raw / self.temperature if self.temperature not in (0.0, 1.0) else raw
        if self.greedy is not None:
            logits = torch.where(self.greedy[:, None], raw, logits)
        logprobs = torch.log_softmax(logits, dim=-1)
        # Looked at once a batch: on a GPU each look waits for the device.
        if step == 0 and logprobs.isnan().any():
            raise RuntimeError(f"the policy's logits are not finite: {why_not_finite(self.model)}; {CURE}")
        chosen = draw(logprobs, self.chance[:, step]) if self.temperature else logprobs.argmax(dim=-1)
        if self.greedy is not None:
            chosen = torch.where(self.greedy, logprobs.argmax(dim=-1), chosen)
        self.logprobs.append(logprobs.gather(-1, chosen[:, None])[:, 0])
        chosen = chosen if self.ids is None else self.ids[chosen]
        return scores.scatter_(-1, chosen[:, None], math.inf)


class _HalfFinished(StoppingCriteria):  # type: ignore[misc]
    """Ends `generate` when half of its rows have finished, which it would compute until the last one has."""

    def __init__(self, stop_ids: Tensor, finished: Tensor, *, last_width: int) -> None:
        self.stop_ids = stop_ids
        self.finished = finished  # [B] bool
        self.last_width = last_width  # of rows that are worth a cut

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        self.finished = self.finished | torch.isin(input_ids[:, -1], self.stop_ids)
        if input_ids.shape[0] <= LEAST_ROWS or input_ids.shape[1] > self.last_width:
            return self.finished
        return self.finished | (2 * self.finished.sum() >= input_ids.shape[0])


class TransformersEngine(RolloutEngine):
    """Generates with the model object itself, so its weights are never stale.

    Responses are sampled in batches of at most ``max_batch_size``, in the order of their prompts'
    lengths, so that the prompts of one batch need little padding.  In each, a prompt is read once for all of its
    samples, and for all places at which the same tensor is given.  Rows that have finished leave their batch
    whenever they are half of it.  A sharded model is whole on every rank meanwhile; one that does not fit there
    needs an engine of its own.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        pad_id: int,
        stop_ids: Sequence[int],
        masked_ids: Sequence[int] = (),
        max_batch_size: int = 256,
    ) -> None:
        self.model = model
        self.pad_id = pad_id
        self.stop_ids = list(stop_ids)
        self.masked_ids = list(masked_ids)
        self.max_batch_size = max_batch_size

    def generate(
        self, prompts: Sequence[Tensor], num_samples: int, sampling: Sampling
    ) -> list[list[Completion]]:
        context = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        check_context(prompts, sampling.max_tokens, context)
        by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        rows = [(i, sample) for i in by_length for sample in range(num_samples)]
        completions: list[list[Completion]] = [[] for _ in prompts]
        with torch.no_grad(), whole(self.model), _sampling_only(self.model):
            for start in range(0, len(rows), self.max_batch_size):
                chosen = rows[start : start + self.max_batch_size]
                for (i, _), completion in zip(chosen, self._generate(prompts, chosen, sampling), strict=True):
                    completions[i].append(completion)
                self._tell(len(chosen))
        return completions

    def _generate(
        self, prompts: Sequence[Tensor], rows: Sequence[tuple[int, int]], sampling: Sampling
    ) -> list[Completion]:
        """A completion for each of some rows (prompt, sample), as one batch."""
        device = self.model.device
        different = {id(prompts[i]): prompts[i] for i, _ in rows}
        width = max(map(len, different.values()))
        input_ids = torch.full((len(different), width), self.pad_id)
        attention_mask = torch.zeros_like(input_ids)
        for row, prompt in enumerate(different.values()):
            input_ids[row, width - len(prompt) :] = prompt
            attention_mask[row, width - len(prompt) :] = 1
        input_ids, attention_mask = input_ids.to(device), attention_mask.to(device)
        place = {prompt: row for row, prompt in enumerate(different)}
        owner = torch.tensor([place[id(prompts[i])] for i, _ in rows], device=device)
        cache = self._read(input_ids, attention_mask, owner)
        tokens, logprobs = self._sample(input_ids[owner], attention_mask[owner], cache, rows, sampling)
        return _completions(tokens.cpu(), logprobs.cpu(), torch.tensor(self.stop_ids))

    def _sample(
        self,
        ids: Tensor,
        mask: Tensor,
        cache: Any,
        of_batch: Sequence[tuple[int, int]],
        sampling: Sampling,
    ) -> tuple[Tensor, Tensor]:
        """Tokens [B, S] that follow ``ids`` [B, L], and their log-probabilities; what comes after an end means nothing.

        Without a ``cache`` that can be cut, rows that have finished stay to the last.
        """
        stop_ids, among = torch.tensor(self.stop_ids, device=ids.device), self._ids()
        chance, greedy = _chance(of_batch, sampling).to(ids.device), _greedy(of_batch, sampling)
        greedy = None if greedy is None else greedy.to(ids.device)
        tokens = torch.full((len(ids), sampling.max_tokens), self.pad_id, device=ids.device)
        logprobs = torch.zeros(tokens.shape, device=ids.device)
        rows = torch.arange(len(ids), device=ids.device)
        finished = torch.zeros_like(rows, dtype=torch.bool)
        step = 0
        while step < sampling.max_tokens and not finished.all():
            if step:
                # Those that go on, and as many others as the batch has to keep.
                kept = finished.int().argsort(stable=True)[: max(int((~finished).sum()), LEAST_ROWS)]
                rows, ids, mask, finished = (each[kept] for each in (rows, ids, mask, finished))
                cache.batch_select_indices(kept)
            sampler = _Sampler(
                self.model,
                among,
                sampling.temperature,
                chance[rows, step:],
                None if greedy is None else greedy[rows],
            )
            width = ids.shape[1]
            enough = _HalfFinished(
                stop_ids, finished, last_width=width + sampling.max_tokens - step - LEAST_STEPS
            )
            ids = self.model.generate(
                ids,
                attention_mask=mask,
                past_key_values=cache,
                generation_config=GenerationConfig(
                    do_sample=False,
                    max_new_tokens=sampling.max_tokens - step,
                    pad_token_id=self.pad_id,
                    eos_token_id=self.stop_ids,
                ),
                logits_processor=LogitsProcessorList([sampler]),
                stopping_criteria=StoppingCriteriaList([enough] if cache is not None else []),
            )
            now = slice(step, step := step + ids.shape[1] - width)
            tokens[rows, now] = ids[:, width:]
            logprobs[rows, now] = torch.stack(sampler.logprobs, dim=1).float()
            mask = torch.cat([mask, mask.new_ones(len(ids), ids.shape[1] - width)], dim=1)
            # Only of what was sampled: the rest is padding, which may be a stop token too.
            finished = finished | torch.isin(ids[:, width:], stop_ids).any(dim=1)
        return tokens, logprobs

    def _read(self, input_ids: Tensor, attention_mask: Tensor, owner: Tensor) -> Any:
        """The KV cache of rows [B] after all but the last token of their prompts [U, L], each read once.

        None where there is nothing to share, or the model keeps something else than keys and values; then
        `generate` reads every row.
        """
        if len(owner) == len(input_ids) or input_ids.shape[1] == 1:
            return None
        positions = (attention_mask.cumsum(dim=1) - 1).clamp(min=0)  # as generate counts them
        cache = getattr(
            self.model.get_decoder()(
                input_ids=input_ids[:, :-1],
                attention_mask=attention_mask[:, :-1],
                position_ids=positions[:, :-1],
                use_cache=True,
            ),
            "past_key_values",
            None,
        )
        if not isinstance(cache, DynamicCache) or not all(map(_can_be_cut, cache.layers)):
            return None
        cache.batch_select_indices(owner)
        cache.layers = [
            GrowingLayer(layer) if type(layer) is DynamicLayer else layer for layer in cache.layers
        ]
        return cache

    def _ids(self) -> Tensor | None:
        """[V - M] int64 of what can be sampled; None is all V."""
        if not self.masked_ids:
            return None
        can = torch.ones(self.model.get_output_embeddings().weight.shape[0], dtype=torch.bool)
        can[self.masked_ids] = False
        return torch.nonzero(can)[:, 0].to(self.model.device)


def _can_be_cut(layer: Any) -> bool:
    """Whether rows of a layer's cache can be chosen, as those of keys and values can, and of linear attention cannot."""
    return hasattr(layer, "batch_select_indices")


def _completions(tokens: Tensor, logprobs: Tensor, stop_ids: Tensor) -> list[Completion]:
    """Rows [B, S] up to their first stop token."""
    is_end = torch.isin(tokens, stop_ids)
    finished = is_end.any(dim=1)
    lengths = torch.where(finished, is_end.int().argmax(dim=1) + 1, tokens.shape[1])
    return [
        Completion(
            tokens=tokens[row, :length].clone(), logprobs=logprobs[row, :length].clone(), finished=ended
        )
        for row, (length, ended) in enumerate(zip(lengths.tolist(), finished.tolist(), strict=True))
    ]


def _chance(rows: Sequence[tuple[int, int]], sampling: Sampling) -> Tensor:
    """[B, max_tokens] uniform numbers of rows (prompt, sample); those of greedy ones mean nothing."""
    if sampling.temperature == 0:
        return torch.empty(len(rows), 0)
    unused = torch.zeros(sampling.max_tokens, dtype=torch.float64)
    addresses = (sampling.address(*row) for row in rows)
    return torch.stack(
        [uniforms(sampling.seed, *at, sampling.max_tokens) if at else unused for at in addresses]
    )


def _greedy(rows: Sequence[tuple[int, int]], sampling: Sampling) -> Tensor | None:
    """[B] bool: which rows are greedy among sampled ones; None where there is no such difference."""
    if not sampling.greedy_first or sampling.temperature == 0:
        return None
    return torch.tensor([sampling.address(*row) is None for row in rows])


@contextmanager
def _sampling_only(model: PreTrainedModel) -> Iterator[None]:
    """The model in evaluation mode and without its checkpoint's generation config, for a while.

    `generate` fills whatever the config it is given leaves open (repetition penalty, min-p, suppressed
    tokens, ...) from that of the checkpoint, and so would sample from another distribution than the
    policy's.
    """
    inherited, was_training = model.generation_config, model.training
    model.generation_config = GenerationConfig()
    model.eval()
    try:
        yield
    finally:
        model.generation_config = inherited
        model.train(was_training)
