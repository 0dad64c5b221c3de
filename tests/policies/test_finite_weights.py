"""Weights that are not finite are called that, by each part that can meet them first."""

from __future__ import annotations

import math

import pytest
import torch

from policies.finite_weights import not_finite
from policies.initialisation import Initialisation, choose_start
from policies.model.built_in import built_in
from policies.model.cache import cache_folder
from policies.model.loading import LoadedPolicy, load_pretrained
from policies.model.tiny import TinyModel, character_tokenizer, tiny_model
from policies.model.warm_start import WarmStart
from policies.rollouts.base import Completion, EngineUnavailableError, Sampling
from policies.rollouts.transformers_engine import TransformersEngine
from policies.rollouts.weight_pushing import PushedEngine
from policies.statistics.response_statistics import check_head

pytestmark = pytest.mark.trains

ARCHITECTURE = TinyModel(hidden_size=32, intermediate_size=64, num_layers=1, num_heads=1, max_tokens=32)
UP = "model.layers.0.mlp.up_proj.weight"
SAMPLING = Sampling(temperature=1.0, max_tokens=2, seed=0)


@pytest.fixture
def policy():
    tokenizer = character_tokenizer("0123456789+=", 32)
    return LoadedPolicy(tiny_model(ARCHITECTURE, tokenizer, seed=0).eval(), tokenizer)


def spoil(policy, name, places, value=math.nan):
    weight = dict(policy.model.named_parameters())[name]
    with torch.no_grad():
        weight.view(-1)[:places] = value


def test_what_is_not_finite_is_named_and_counted(policy):
    assert not_finite(policy.model) is None
    spoil(policy, UP, 3)
    spoil(policy, "model.norm.weight", 1, -math.inf)
    # 64 · 32 = 2,048 weights of the projection, 32 of the norm
    assert not_finite(policy.model) == f"{UP} (3 of 2,048 numbers), model.norm.weight (1 of 32 numbers)"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_checkpoint_with_such_weights_is_refused_by_their_name(policy, tmp_path, value):
    spoil(policy, UP, 2, value)
    policy.save(tmp_path / "model")
    with pytest.raises(
        ValueError, match=rf"cannot be loaded: .*not finite: {UP} \(2 of 2,048 numbers\)"
    ) as error:
        load_pretrained(str(tmp_path / "model"))
    assert "output head" not in str(error.value)


def test_a_weight_that_the_first_tokens_do_not_meet_is_found_too(policy, tmp_path):
    policy.model.config.tie_word_embeddings = False
    policy.model.lm_head.weight = torch.nn.Parameter(policy.model.lm_head.weight.detach().clone())
    with torch.no_grad():
        policy.model.get_input_embeddings().weight[11, 0] = math.nan
    policy.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"not finite: model\.embed_tokens\.weight \(1 of 512 numbers\)"):
        load_pretrained(str(tmp_path / "model"))


def test_numbers_that_overflow_are_told_from_weights_and_from_the_head(policy):
    with torch.no_grad():
        policy.model.lm_head.weight.fill_(3e38)  # finite, and 32 of them make infinity
    policy.model.model.embed_tokens.weight = torch.nn.Parameter(torch.ones(16, 32))
    with pytest.raises(
        ValueError, match=r"its logits are not finite: all of its weights are finite.*overflow"
    ):
        check_head(policy.model)


@pytest.mark.parametrize("overflows", [False, True])
def test_the_sampler_says_which_of_the_two_it_saw(policy, overflows):
    if overflows:
        with torch.no_grad():
            policy.model.lm_head.weight.fill_(3e38)
        policy.model.model.embed_tokens.weight = torch.nn.Parameter(torch.ones(16, 32))
    else:
        spoil(policy, UP, 5)
    engine = TransformersEngine(policy.model, pad_id=0, stop_ids=[2])
    said = "all of its weights are finite" if overflows else rf"not finite: {UP} \(5 of 2,048 numbers\)"
    with pytest.raises(RuntimeError, match=rf"the policy's logits are not finite: .*{said}"):
        engine.generate([policy.encode("1+1=")], 1, SAMPLING)


class Elsewhere(PushedEngine):
    """An engine that answers with a log-probability, or is gone."""

    def __init__(self, policy, logprob):
        super().__init__(policy, push_every=1)
        self.logprob = logprob

    def _load(self, version):
        pass

    def _generate(self, prompts, num_samples, sampling):
        if self.logprob is None:
            raise EngineUnavailableError("HTTP 500: Internal Server Error")
        sample = Completion(tokens=torch.tensor([5]), logprobs=torch.tensor([self.logprob]), finished=False)
        return [[sample] * num_samples for _ in prompts]


@pytest.mark.parametrize("logprob", [math.nan, None])
def test_an_engine_of_its_own_that_chokes_on_them_is_not_blamed(policy, logprob):
    """A server cannot write nan as JSON and answers 500, like one that is down."""
    spoil(policy, UP, 1)
    with pytest.raises(RuntimeError, match=rf"not finite: {UP} \(1 of 2,048 numbers\)") as error:
        Elsewhere(policy, logprob).generate([policy.encode("1")], 1, SAMPLING)
    assert not isinstance(error.value, EngineUnavailableError)


def test_an_engine_of_its_own_that_is_gone_is_gone_and_one_that_answers_is_believed(policy):
    with pytest.raises(EngineUnavailableError, match="HTTP 500"):
        Elsewhere(policy, None).generate([policy.encode("1")], 1, SAMPLING)
    ((sample,),) = Elsewhere(policy, -0.5).generate([policy.encode("1")], 1, SAMPLING)
    assert sample.logprobs.item() == -0.5


@pytest.mark.parametrize("action", ["accept", "redraw", "recalibrate"])
def test_an_entropy_that_is_no_number_is_not_a_low_one(action):
    settings = Initialisation(floor_nats=0.5, action=action)
    with pytest.raises(ValueError, match=r"entropy of the fresh policy is nan"):
        choose_start(settings, seed=0, temperature=1.0, entropy=lambda seed, temperature: math.nan)


def test_a_warm_start_that_diverges_is_called_that_and_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("ENTROSTAT_CACHE", str(tmp_path / "cache"))

    def shown(batch):
        return [("1+1=", "2")]

    real = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW,
        "step",
        lambda self, *given: (real(self, *given), self.param_groups[0]["params"][0].data.fill_(math.inf))[0],
    )
    with pytest.raises(ValueError, match=r"policy\.warm_start: .*not finite: .*lower its learning_rate"):
        built_in(ARCHITECTURE, WarmStart(num_steps=2, batch_size=1), "0123456789+=", shown)
    assert not list(cache_folder().glob("*/config.json"))
