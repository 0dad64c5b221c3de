"""Logits without a token: no engine samples their ids, and no probability is theirs."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from policies.model.loading import LoadedPolicy, load_pretrained
from policies.model.tiny import TinyModel, character_tokenizer, tiny_model
from policies.rollouts.base import Sampling
from policies.rollouts.open_engine import open_engine
from policies.rollouts.settings import Transformers, VllmServer
from policies.rollouts.transformers_engine import TransformersEngine
from policies.rollouts.vllm_worker import mask_logits
from policies.statistics.response_statistics import View, observe
from policies.statistics.sequences import pack
from policies.statistics.token_statistics import token_statistics
from policies.statistics.vocabulary import DropLowest, MinP, TopP
from tests.policies.fake_vllm import FakeServer

pytestmark = pytest.mark.trains

ARCHITECTURE = TinyModel(hidden_size=32, intermediate_size=64, num_layers=1, num_heads=1, max_tokens=32)
LETTERS = "0123456789+="
HOLE, NUM_LOGITS = 9, 24
MASKED = (HOLE, 17, 18, 19, 20, 21, 22, 23)
"""Logits without a token; 16 of 24 have one: four special ones and twelve letters, with a hole among them."""


def tokenizer_with_a_hole():
    ids = [i for i in range(17) if i != HOLE]
    tokens = ["<pad>", "<bos>", "<eos>", "<unk>", *LETTERS]
    tokenizer = Tokenizer(models.WordLevel(dict(zip(tokens, ids, strict=True)), unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )


class Padded:
    """As much of a tokenizer as the tiny model is made from: one with the padding of the checkpoint."""

    bos_token_id, eos_token_id, pad_token_id = 1, 2, 0

    def __len__(self):
        return NUM_LOGITS


@pytest.fixture
def policy():
    """A policy to whom ids without a token are by far the likeliest: all of their rows point one way."""
    model = tiny_model(ARCHITECTURE, Padded(), seed=0).eval()
    with torch.no_grad():
        weight = model.get_output_embeddings().weight
        weight.mul_(20.0)
        weight[list(MASKED)] += 5.0 * weight[:17].mean(dim=0).sign()
    return LoadedPolicy(model, tokenizer_with_a_hole())


@pytest.fixture
def prompts(policy):
    return [policy.encode(text) for text in ("1+2=", "3", "4+")]


def sampling(**changes):
    return Sampling(**({"temperature": 1.0, "max_tokens": 6, "seed": 3} | changes))


def tokens_of(groups):
    return torch.cat([completion.tokens for group in groups for completion in group])


def learners(policy, prompts, groups, temperature=1.0):
    rows = [prompt for prompt, group in zip(prompts, groups, strict=True) for _ in group]
    packed = pack(rows, [c.tokens for group in groups for c in group], policy.pad_id)
    view = View(temperature=temperature, masked_ids=policy.masked_ids)
    return observe(policy.model, packed, view, micro_batch_size=4)


# What is masked ---------------------------------------------------------------------------------------


def test_ids_without_a_token_are_found_wherever_they_are(policy, tmp_path):
    assert policy.masked_ids == MASKED
    assert policy.vocabulary_size == 16
    policy.save(tmp_path / "model")
    assert load_pretrained(str(tmp_path / "model")).masked_ids == MASKED


def test_added_tokens_are_tokens(policy):
    tokenizer = character_tokenizer(LETTERS, 32)
    assert LoadedPolicy(policy.model, tokenizer).masked_ids == tuple(range(16, 24))
    tokenizer.add_tokens(["answer"])
    assert LoadedPolicy(policy.model, tokenizer).masked_ids == tuple(range(17, 24))


# Sampling ---------------------------------------------------------------------------------------------


def test_unmasked_they_would_be_sampled(policy, prompts):
    engine = TransformersEngine(policy.model, pad_id=0, stop_ids=[2])
    sampled = tokens_of(engine.generate(prompts, 50, sampling()))
    assert torch.isin(sampled, torch.tensor(MASKED)).double().mean() > 0.1  # or the tests below show nothing


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0, 5.0])
def test_they_are_never_sampled_and_the_others_as_the_learner_has_them(policy, prompts, temperature):
    engine = open_engine(Transformers(), policy, max_batch_size=64, scratch=None)
    groups = engine.generate(prompts, 50, sampling(temperature=temperature))
    assert not torch.isin(tokens_of(groups), torch.tensor(MASKED)).any()
    logprobs = torch.cat([completion.logprobs for group in groups for completion in group])
    seen = learners(policy, prompts, groups, temperature or 1.0)
    torch.testing.assert_close(logprobs, seen.logprobs, atol=1e-4, rtol=0)


def test_a_sampled_token_is_a_piece_of_the_text_that_is_graded(policy, prompts):
    engine = open_engine(Transformers(), policy, max_batch_size=64, scratch=None)
    samples = [c for group in engine.generate(prompts, 50, sampling()) for c in group]
    for sample, text in zip(samples, policy.decode([sample.tokens for sample in samples]), strict=True):
        assert len(text) == int((sample.tokens > 3).sum())  # every one that is not special is a letter


def test_first_token_is_sampled_from_the_softmax_over_tokens(policy):
    prompt, n = policy.encode("1+2="), 4000
    engine = open_engine(Transformers(), policy, max_batch_size=n, scratch=None)
    sampled = tokens_of(engine.generate([prompt], n, sampling(max_tokens=1, temperature=3.0)))
    counts = torch.bincount(sampled, minlength=NUM_LOGITS).double()
    logits = policy.model(input_ids=prompt[None]).logits[0, -1].double() / 3.0
    logits[list(MASKED)] = -math.inf
    p = logits.softmax(-1)
    able = p > 0
    assert able.sum() == 16
    assert (
        (counts - n * p).square()[able] / (n * p)[able]
    ).sum() < 44  # 15 degrees of freedom: once in 10 000


# Entropy and log-probabilities ------------------------------------------------------------------------


def test_entropy_of_a_uniform_policy_is_that_of_its_tokens(policy, prompts):
    with torch.no_grad():
        policy.model.get_output_embeddings().weight.zero_()
    groups = open_engine(Transformers(), policy, max_batch_size=64, scratch=None).generate(
        prompts, 4, sampling()
    )
    seen = learners(policy, prompts, groups)
    torch.testing.assert_close(seen.entropy, torch.full_like(seen.entropy, math.log(16)))
    torch.testing.assert_close(seen.logprobs, torch.full_like(seen.entropy, -math.log(16)))


@pytest.mark.parametrize("vocabulary", [None, MinP(threshold=0.2), TopP(mass=0.8), DropLowest(share=0.3)])
@pytest.mark.parametrize("beta", [1.0, "vector"])
def test_statistics_are_those_of_a_head_without_them(vocabulary, beta):
    """Values and gradients, with the rows of the head that have no token taken out by hand."""
    T, V, D = 31, 17, 6
    generator = torch.Generator().manual_seed(1)
    leaves = [
        torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()
        for shape in ((T, D), (V, D), (V,))
    ]
    hidden, weight, bias = leaves
    masked = torch.tensor([4, 15, 16])
    kept = torch.tensor([v for v in range(V) if v not in masked.tolist()])
    among = torch.randint(len(kept), (T,), generator=generator)
    beta = torch.linspace(0.3, 2.0, T, dtype=torch.float64) if beta == "vector" else beta
    settings = {"inverse_temperature": beta, "vocabulary": vocabulary}
    ours = token_statistics(hidden, weight, kept[among], bias=bias, masked=masked, chunk_tokens=7, **settings)
    expected = token_statistics(hidden, weight[kept], among, bias=bias[kept], **settings)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)
    upstream = torch.randn(2, T, dtype=torch.float64, generator=generator)
    gradients = [
        torch.autograd.grad((upstream[0] * logprobs + upstream[1] * entropy).sum(), leaves)
        for logprobs, entropy in (ours, expected)
    ]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


def test_a_share_of_the_vocabulary_is_one_of_its_tokens():
    shifted = torch.tensor([[0.0, -1.0, -2.0, -3.0, -math.inf, -math.inf, -math.inf, -math.inf]])
    # int(0.5 · 4) = 2 of the four go; of all eight it would be the four that are none
    kept = DropLowest(share=0.5).keep(shifted, num_masked=4)[0]
    assert kept.tolist() == [True, True, False, False, False, False, False, False]


# Engines with weights of their own --------------------------------------------------------------------


@pytest.fixture
def server():
    started = FakeServer()
    yield started
    started.stop()


def test_a_server_is_told_with_the_weights(policy, prompts, server, tmp_path):
    engine = open_engine(VllmServer(urls=(server.url,)), policy, max_batch_size=64, scratch=tmp_path)
    groups = engine.generate(prompts, 20, sampling())
    assert server.masked_ids == list(MASKED)
    assert not torch.isin(tokens_of(groups), torch.tensor(MASKED)).any()
    logprobs = torch.cat([completion.logprobs for group in groups for completion in group])
    torch.testing.assert_close(logprobs, learners(policy, prompts, groups).logprobs, atol=1e-4, rtol=0)
    server.forget()  # started again, it is told again
    server.masked_ids = []
    engine.generate(prompts, 2, sampling())
    assert server.masked_ids == list(MASKED)


def test_a_server_that_samples_them_all_the_same_is_refused(policy, prompts, server, tmp_path):
    server.heeds = False
    engine = open_engine(VllmServer(urls=(server.url,)), policy, max_batch_size=64, scratch=tmp_path)
    with pytest.raises(
        RuntimeError, match=r"sampled the id \d+, which no token .*policies\.rollouts\.vllm_launch"
    ):
        engine.generate(prompts, 50, sampling())


def test_a_vllm_model_is_masked_where_its_logits_leave_it():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(2, 4)

        def compute_logits(self, hidden, bias=0.0):
            return None if hidden is None else self.head(hidden) + bias

    model, hidden = Model(), torch.ones(3, 2)
    with torch.no_grad():
        whole = model.compute_logits(hidden)
        mask_logits(model, [1, 3])
        mask_logits(model, [0, 3])  # in place of the first
        logits = model.compute_logits(hidden, bias=1.0)
        assert logits[:, [0, 3]].isneginf().all()
        assert torch.equal(logits[:, [1, 2]], whole[:, [1, 2]] + 1.0)
        assert model.compute_logits(None) is None  # a rank of several that has no logits
        mask_logits(model, [])
        assert torch.equal(model.compute_logits(hidden), whole)


# Every id has a token ---------------------------------------------------------------------------


def test_a_policy_whose_ids_all_have_tokens_is_as_it_was(make_policy, monkeypatch):
    policy = make_policy()
    assert policy.masked_ids == ()
    assert policy.vocabulary_size == len(policy.tokenizer)
    engine = open_engine(Transformers(), policy, max_batch_size=64, scratch=None)
    monkeypatch.setattr(torch.Tensor, "index_select", None)  # neither is anything selected
    monkeypatch.setattr(torch.Tensor, "index_fill_", None)  # nor filled
    prompts = [policy.encode("1+2=")]
    learners(policy, prompts, engine.generate(prompts, 2, sampling()))
    plain = SimpleNamespace(compute_logits=len)
    mask_logits(plain, ())
    assert vars(plain) == {}
