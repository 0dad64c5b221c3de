"""Parts of the vocabulary: what stays, and the statistics of what stays, against a dense float64 path."""

from __future__ import annotations

import math

import pytest
import torch

from policies.statistics.token_statistics import NEGLIGIBLE, token_statistics
from policies.statistics.vocabulary import DropLowest, MinP, TopP

T, V, D = 31, 17, 6
FILTERS = [MinP(threshold=0.2), TopP(mass=0.8), DropLowest(share=0.3)]


def shifted(*probabilities):
    logits = torch.tensor([probabilities], dtype=torch.float64).log()
    return logits - logits.amax()


def kept(vocabulary, *probabilities):
    return vocabulary.keep(shifted(*probabilities))[0].tolist()


def test_min_p_by_hand():
    # the best has 0.5, so 0.2 · 0.5 = 0.1 and more stay
    assert kept(MinP(threshold=0.2), 0.05, 0.5, 0.11, 0.3, 0.04) == [False, True, True, True, False]
    assert kept(MinP(threshold=1.0), 0.3, 0.4, 0.3) == [False, True, False]


def test_top_p_by_hand():
    # ranked 0.4, 0.3, 0.2, 0.1: 0.7 is short of 0.8, so the third, which crosses it, is in
    assert kept(TopP(mass=0.8), 0.1, 0.4, 0.2, 0.3) == [False, True, True, True]
    assert kept(TopP(mass=0.8), 0.9, 0.06, 0.04) == [True, False, False]  # one is enough
    assert kept(TopP(mass=1.0), 0.9, 0.06, 0.04) == [True, True, True]


def test_drop_lowest_by_hand():
    # int(0.3 · 7) = 2 of seven go
    assert kept(DropLowest(share=0.3), 0.1, 0.3, 0.05, 0.2, 0.15, 0.12, 0.08) == [
        True,
        True,
        False,
        True,
        True,
        True,
        False,
    ]
    assert all(kept(DropLowest(share=0.3), 0.5, 0.25, 0.25))  # int(0.9) = 0


@pytest.mark.parametrize("vocabulary", FILTERS, ids=lambda f: type(f).__name__)
def test_the_likeliest_entry_always_stays(vocabulary):
    logits = torch.randn(200, V, generator=torch.Generator().manual_seed(0))
    keep = vocabulary.keep(logits - logits.amax(dim=1, keepdim=True))
    assert keep.gather(1, logits.argmax(dim=1, keepdim=True)).all()
    assert not keep.all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MinP(threshold=0.0), r"threshold must be in \(0, 1\], got 0.0"),
        (lambda: MinP(threshold=1.5), "got 1.5"),
        (lambda: TopP(mass=0.0), r"mass must be in \(0, 1\], got 0.0"),
        (lambda: DropLowest(share=1.0), r"share must be in \[0, 1\), got 1.0"),
        (lambda: DropLowest(share=math.nan), "got nan"),
    ],
)
def test_guards(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# Statistics of what stays -----------------------------------------------------------------------------


def problem(dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    hidden, weight, bias, upstream = (
        torch.randn(*shape, dtype=torch.float64, generator=generator)
        for shape in ((T, D), (V, D), (V,), (2, T))
    )
    leaves = [x.to(dtype).requires_grad_() for x in (hidden, weight, bias)]
    return *leaves, torch.randint(V, (T,), generator=generator), upstream.to(dtype)


def dense(hidden, weight, targets, bias, beta, vocabulary):
    """log π and H of the cut distribution by plain autograd; -inf where the target was dropped."""
    logits = (hidden @ weight.T + bias) * (beta[:, None] if isinstance(beta, torch.Tensor) else beta)
    keep = vocabulary.keep((logits - logits.amax(dim=1, keepdim=True)).detach())
    logprobs = torch.log_softmax(logits.masked_fill(~keep, -math.inf), dim=1)
    finite = logprobs.masked_fill(~keep, 0.0)
    return logprobs.gather(1, targets[:, None])[:, 0], -(finite.exp() * finite * keep).sum(dim=1), keep


@pytest.mark.parametrize("vocabulary", FILTERS, ids=lambda f: type(f).__name__)
@pytest.mark.parametrize("chunk_tokens", [1, 7, None])
@pytest.mark.parametrize("beta", [1.0, "vector"])
def test_equals_dense_with_gradients(vocabulary, chunk_tokens, beta):
    hidden, weight, bias, targets, upstream = problem()
    beta = torch.linspace(0.3, 2.0, T, dtype=torch.float64) if beta == "vector" else beta
    logprobs, entropy = token_statistics(
        hidden,
        weight,
        targets,
        bias=bias,
        inverse_temperature=beta,
        chunk_tokens=chunk_tokens,
        vocabulary=vocabulary,
    )
    expected_logprobs, expected_entropy, keep = dense(hidden, weight, targets, bias, beta, vocabulary)
    stays = keep.gather(1, targets[:, None])[:, 0]
    assert 3 < stays.sum() < T - 3  # some targets are dropped
    torch.testing.assert_close(logprobs[stays], expected_logprobs[stays], rtol=0, atol=1e-12)
    torch.testing.assert_close(entropy, expected_entropy, rtol=0, atol=1e-12)
    # A dropped target: about NEGLIGIBLE below the best that stays, and without a gradient of its own.
    assert ((logprobs[~stays] <= NEGLIGIBLE) & (logprobs[~stays] > NEGLIGIBLE - math.log(V))).all()

    leaves = (hidden, weight, bias)
    ours = torch.autograd.grad((upstream[0] * logprobs + upstream[1] * entropy).sum(), leaves)
    of_kept = torch.where(stays, upstream[0] * expected_logprobs, 0.0)
    expected = torch.autograd.grad((of_kept + upstream[1] * expected_entropy).sum(), leaves)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


def test_float32_is_within_1e6_of_float64():
    vocabulary = MinP(threshold=0.05)
    hidden, weight, bias, targets, _ = problem(torch.float32)
    ours = token_statistics(hidden, weight, targets, bias=bias, vocabulary=vocabulary)
    exact = token_statistics(hidden.double(), weight.double(), targets, bias=bias, vocabulary=vocabulary)
    for value, expected in zip(ours, exact, strict=True):
        torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-6)


def test_a_cut_that_keeps_all_is_no_cut():
    hidden, weight, bias, targets, _ = problem()
    whole = token_statistics(hidden, weight, targets, bias=bias)
    cut = token_statistics(hidden, weight, targets, bias=bias, vocabulary=DropLowest(share=0.0))
    assert torch.equal(whole[0], cut[0])
    assert torch.equal(whole[1], cut[1])


def test_renormalising_raises_what_stays():
    hidden, weight, bias, targets, _ = problem()
    whole, _ = token_statistics(hidden, weight, targets, bias=bias)
    cut, entropy = token_statistics(hidden, weight, targets, bias=bias, vocabulary=TopP(mass=0.8))
    stays = cut > NEGLIGIBLE / 2
    assert (cut[stays] > whole[stays]).all()
    assert (cut[stays] - whole[stays] <= math.log(1 / 0.8) + 1e-12).all()  # by at most ln 1/mass
    assert (entropy >= 0).all()


def test_gradcheck():
    hidden, weight, *_ = problem()
    likely = (hidden @ weight.T).argmax(dim=1)[:6]  # never dropped: those that are have no gradient

    def statistics(hidden, weight):
        return token_statistics(hidden, weight, likely, chunk_tokens=4, vocabulary=DropLowest(share=0.3))

    assert torch.autograd.gradcheck(statistics, (hidden[:6].detach().requires_grad_(), weight))
