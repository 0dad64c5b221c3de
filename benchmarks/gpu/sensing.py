"""What is computed over a whole batch of 512 responses of 8,000 tokens: packing, gathering, every sensor."""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.gpu.bench import Bench
from policies.statistics.batch import TokenBatch
from policies.statistics.sensors import measure
from policies.statistics.sequences import Sequences, pack, token_index

LIMIT_SECONDS = 0.3
VOCABULARY, GROUP = 152_064, 8


def sensors_and_packing(bench: Bench) -> None:
    """Time them one by one; the limit is for all together."""
    num_responses, length = bench.size((512, 8000), (16, 8))
    prompts = [torch.arange(32)] * num_responses
    responses = [torch.randint(VOCABULARY, (length,)) for _ in range(num_responses)]
    sequences = pack(prompts, responses, pad_id=0)
    batch = _batch(sequences, num_responses)
    on_device = batch.to(bench.device)
    chosen = torch.arange(0, num_responses, 2, device=bench.device)
    times = {
        "packing": bench.seconds(partial(pack, prompts, responses, 0)),
        "places of tokens": bench.seconds(partial(token_index, sequences)),
        "batch to the device": bench.seconds(partial(batch.to, bench.device)),
        "half of the batch": bench.seconds(partial(on_device.select, chosen)),
        "sensors": bench.seconds(partial(measure, on_device, vocabulary_size=VOCABULARY, domains=None)),
    }
    for name, seconds in times.items():
        bench.say(f"{name} [s]", seconds)
    bench.at_most(
        f"all of it, {len(batch.response)} tokens [s]", sum(times.values()), LIMIT_SECONDS, on="h200"
    )


def _batch(sequences: Sequences, num_responses: int) -> TokenBatch:
    torch.manual_seed(0)
    response, position = token_index(sequences)
    num_tokens = len(response)
    logprobs, advantages = -torch.rand(num_tokens), torch.randn(num_responses)
    return TokenBatch(
        response=response,
        position=position,
        logprobs=logprobs,
        old_logprobs=logprobs,
        entropy=torch.rand(num_tokens),
        advantages=advantages[response],
        weights=torch.zeros(num_tokens),
        rewards=torch.randint(2, (num_responses,)).float(),
        group=torch.arange(num_responses) // GROUP,
    )
