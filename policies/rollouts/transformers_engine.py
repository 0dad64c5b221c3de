"""Rollouts by transformers ``generate``: batches with a KV cache, in the learner's own process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel

from policies.rollouts.base import Completion, RolloutEngine, Sampling


class _Recorder(LogitsProcessor):  # type: ignore[misc]
    """Divides by the temperature and keeps the log-probability of every token that gets sampled.

    ``generate(output_scores=True)`` would keep all [steps, batch, vocabulary] scores; this keeps
    one step of them, because the sampled token of a step is seen at the next.
    """

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature
        self.logprobs: list[Tensor] = []
        self._last: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.take(input_ids)
        first = self._last is None
        scores = scores.float() / self.temperature
        self._last = torch.log_softmax(scores, dim=-1)
        # Looked at once a batch: on a GPU each look waits for the device, and sampling from nan kills it.
        if first and self._last.isnan().any():
            raise RuntimeError(
                "the policy's logits are not finite: its weights have diverged; lower learner.learning_rate "
                "or the limits of a loop"
            )
        return scores

    def take(self, input_ids: Tensor) -> None:
        """Read the log-probability of the newest column of ``input_ids`` [B, L]."""
        if self._last is not None:
            self.logprobs.append(self._last.gather(-1, input_ids[:, -1:]).squeeze(-1))


class TransformersEngine(RolloutEngine):
    """Generates with the model object itself, so its weights are never stale.

    Responses are sampled in batches of at most ``max_batch_size``, in the order of their prompts'
    lengths, so that the prompts of one batch need little padding.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        pad_id: int,
        stop_ids: Sequence[int],
        max_batch_size: int = 256,
    ) -> None:
        self.model = model
        self.pad_id = pad_id
        self.stop_ids = list(stop_ids)
        self.max_batch_size = max_batch_size

    def generate(
        self, prompts: Sequence[Tensor], num_samples: int, sampling: Sampling
    ) -> list[list[Completion]]:
        self._check_context(prompts, sampling.max_tokens)
        by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        rows = [i for i in by_length for _ in range(num_samples)]
        completions: list[list[Completion]] = [[] for _ in prompts]
        devices = [self.model.device] if self.model.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.no_grad(), _sampling_only(self.model):
            torch.manual_seed(sampling.seed)
            for start in range(0, len(rows), self.max_batch_size):
                chosen = rows[start : start + self.max_batch_size]
                for i, completion in zip(chosen, self._generate([prompts[i] for i in chosen], sampling)):
                    completions[i].append(completion)
        return completions

    def _check_context(self, prompts: Sequence[Tensor], max_tokens: int) -> None:
        longest = max(len(prompt) for prompt in prompts)
        context = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if context is not None and longest + max_tokens > context:
            raise ValueError(
                f"a prompt of {longest} tokens and a response of up to {max_tokens} (rollout.max_tokens) do "
                f"not fit the model's context of {context} tokens; lower one, or choose another model"
            )

    def _generate(self, prompts: list[Tensor], sampling: Sampling) -> list[Completion]:
        """A completion for each prompt, as one batch."""
        width = max(len(prompt) for prompt in prompts)
        input_ids = torch.full((len(prompts), width), self.pad_id)
        attention_mask = torch.zeros_like(input_ids)
        for row, prompt in enumerate(prompts):
            input_ids[row, width - len(prompt) :] = prompt
            attention_mask[row, width - len(prompt) :] = 1
        greedy = sampling.temperature == 0
        recorder = _Recorder(1.0 if greedy else sampling.temperature)
        output = self.model.generate(
            input_ids.to(self.model.device),
            attention_mask=attention_mask.to(self.model.device),
            generation_config=GenerationConfig(
                do_sample=not greedy,
                temperature=None if greedy else 1.0,
                top_k=None if greedy else 0,
                top_p=None if greedy else 1.0,
                max_new_tokens=sampling.max_tokens,
                pad_token_id=self.pad_id,
                eos_token_id=self.stop_ids,
            ),
            logits_processor=LogitsProcessorList([recorder]),
        )
        recorder.take(output)
        responses = output[:, width:].cpu()
        logprobs = torch.stack(recorder.logprobs, dim=1).float().cpu()
        return [self._completion(*row) for row in zip(responses, logprobs, strict=True)]

    def _completion(self, tokens: Tensor, logprobs: Tensor) -> Completion:
        ends = torch.nonzero(torch.isin(tokens, torch.tensor(self.stop_ids)))
        length = int(ends[0]) + 1 if len(ends) else len(tokens)
        return Completion(
            tokens=tokens[:length].clone(), logprobs=logprobs[:length].clone(), finished=len(ends) > 0
        )


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
