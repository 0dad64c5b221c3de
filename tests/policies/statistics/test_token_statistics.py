"""Log-probability and entropy with gradient: hand values, the dense path, bounds, precision, memory."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from policies.statistics.token_statistics import token_statistics, tokens_of_chunk

T, V, D = 37, 23, 8


def dense(hidden, weight, targets, bias=None, beta=1.0) -> tuple[Tensor, Tensor]:
    """The straightforward reference: autograd through one log_softmax."""
    logits = hidden @ weight.T if bias is None else hidden @ weight.T + bias
    logits = logits * (beta[:, None] if isinstance(beta, Tensor) else beta)
    logprobs = torch.log_softmax(logits, dim=-1)
    entropy = -(logprobs.exp() * logprobs).sum(dim=-1)
    return logprobs.gather(-1, targets[:, None])[:, 0], entropy


def problem(dtype=torch.float64, scale=1.0):
    """hidden [T, D], weight [V, D], bias [V], targets [T] and upstream gradients [2, T]."""
    generator = torch.Generator().manual_seed(0)
    hidden, weight, bias, upstream = (
        torch.randn(*shape, dtype=torch.float64, generator=generator)
        for shape in ((T, D), (V, D), (V,), (2, T))
    )
    leaves = [(scale * x).to(dtype).requires_grad_() for x in (hidden, weight, bias)]
    return *leaves, torch.randint(V, (T,), generator=generator), upstream.to(dtype)


def gradients(statistics, upstream, leaves):
    logprobs, entropy = statistics
    return torch.autograd.grad((upstream[0] * logprobs + upstream[1] * entropy).sum(), leaves)


# Hand values ------------------------------------------------------------------------------------------


def test_a_chunk_is_as_before_on_a_cpu_and_a_thousand_tokens_on_a_gpu():
    assert tokens_of_chunk(torch.device("cpu"), 152_064) == 110
    assert 1024 <= tokens_of_chunk(torch.device("cuda"), 152_064) < 2048
    assert tokens_of_chunk(torch.device("cuda"), 10**9) == 1


def test_two_tokens_by_hand():
    # logits (0, ln 3): π = (1/4, 3/4)
    hidden = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([[0.0], [math.log(3)]], dtype=torch.float64)
    logprobs, entropy = token_statistics(hidden, weight, torch.tensor([1]))
    # log π = ln 0.75 = -0.287682;  H = 0.25 ln 4 + 0.75 ln(4/3) = 0.346574 + 0.215762 = 0.562335
    assert logprobs.item() == pytest.approx(-0.287682, abs=1e-6)
    assert entropy.item() == pytest.approx(0.562335, abs=1e-6)
    # ∂ log π/∂h = Σ_v (1[v=1] - π_v) w_v = (1 - 0.75) · 1.098612 = 0.274653
    assert torch.autograd.grad(logprobs, hidden, retain_graph=True)[0].item() == pytest.approx(
        0.274653, abs=1e-6
    )
    # ∂H/∂h = -Σ_v π_v (log π_v + H) w_v = -0.75 · (-0.287682 + 0.562335) · 1.098612 = -0.226303
    assert torch.autograd.grad(entropy, hidden)[0].item() == pytest.approx(-0.226303, abs=1e-6)


def test_inverse_temperature_by_hand():
    # β = 2 on logits (0, ln 3): (0, ln 9), π = (0.1, 0.9)
    weight = torch.tensor([[0.0], [math.log(3)]], dtype=torch.float64)
    hidden = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    logprobs, entropy = token_statistics(hidden, weight, torch.tensor([0]), inverse_temperature=2.0)
    # log π = ln 0.1 = -2.302585;  H = 0.1 · 2.302585 + 0.9 · 0.105361 = 0.325083
    assert logprobs.item() == pytest.approx(-2.302585, abs=1e-6)
    assert entropy.item() == pytest.approx(0.325083, abs=1e-6)
    # ∂ log π/∂h = β Σ_v (1[v=0] - π_v) w_v = 2 · (-0.9 · 1.098612) = -1.977502
    assert torch.autograd.grad(logprobs, hidden)[0].item() == pytest.approx(-1.977502, abs=1e-6)


def test_certain_and_uniform_distributions():
    weight = torch.zeros(V, 1)
    weight[3] = 1.0
    hidden = torch.tensor([[200.0], [0.0]])  # logits 200 at one entry, or 0 everywhere
    logprobs, entropy = token_statistics(hidden, weight, torch.tensor([3, 3]))
    assert 0.0 <= entropy[0] < 1e-30
    assert logprobs[0] == 0.0
    torch.testing.assert_close(entropy[1].item(), math.log(V), rtol=1e-6, atol=0)
    torch.testing.assert_close(logprobs[1].item(), -math.log(V), rtol=1e-6, atol=0)


# The dense path ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_tokens", [1, 7, T, None])
@pytest.mark.parametrize("beta", [1.0, 0.7, "vector"])
@pytest.mark.parametrize("with_bias", [False, True])
def test_equals_dense_in_float64(chunk_tokens, beta, with_bias):
    hidden, weight, bias, targets, upstream = problem()
    beta = torch.linspace(0.2, 2.0, T, dtype=torch.float64) if beta == "vector" else beta
    leaves = (hidden, weight, bias) if with_bias else (hidden, weight)
    bias = bias if with_bias else None
    ours = token_statistics(
        hidden, weight, targets, bias=bias, inverse_temperature=beta, chunk_tokens=chunk_tokens
    )
    reference = dense(hidden, weight, targets, bias, beta)
    torch.testing.assert_close(ours, reference, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        gradients(ours, upstream, leaves), gradients(reference, upstream, leaves), rtol=0, atol=1e-12
    )


def test_float32_is_within_1e6_of_dense_float64():
    leaves = problem(torch.float32)
    hidden, weight, bias, targets, upstream = leaves
    exact = [x.detach().double().requires_grad_() for x in leaves[:3]]
    ours = token_statistics(hidden, weight, targets, bias=bias, chunk_tokens=7)
    reference = dense(exact[0], exact[1], targets, exact[2])
    for value, expected in zip(ours, reference, strict=True):
        torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-6)
    ours = gradients(ours, upstream, leaves[:3])
    reference = gradients(reference, upstream.double(), exact)
    for value, expected in zip(ours, reference, strict=True):
        torch.testing.assert_close(
            value.double(), expected, rtol=1e-6, atol=1e-6 * expected.abs().max().item()
        )


def test_gradcheck():
    hidden, weight, bias, targets, _ = problem()
    beta = torch.linspace(0.2, 2.0, 5, dtype=torch.float64)

    def statistics(hidden, weight, bias):
        return token_statistics(
            hidden, weight, targets[:5], bias=bias, inverse_temperature=beta, chunk_tokens=2
        )

    assert torch.autograd.gradcheck(statistics, (hidden[:5].detach().requires_grad_(), weight, bias))


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_only_what_needs_a_gradient_gets_one(frozen):
    *leaves, targets, upstream = problem()
    expected = gradients(dense(leaves[0], leaves[1], targets, leaves[2]), upstream, leaves)
    leaves[frozen].requires_grad_(False)
    logprobs, entropy = token_statistics(leaves[0], leaves[1], targets, bias=leaves[2], chunk_tokens=7)
    (upstream[0] * logprobs + upstream[1] * entropy).sum().backward()
    assert leaves[frozen].grad is None
    for k in {0, 1, 2} - {frozen}:
        torch.testing.assert_close(leaves[k].grad, expected[k], rtol=0, atol=1e-12)


def test_a_detached_entropy_has_the_same_value_and_no_gradient():
    hidden, weight, _, targets, upstream = problem()
    logprobs, entropy = token_statistics(hidden, weight, targets, entropy_gradient=False, chunk_tokens=7)
    expected_logprobs, expected_entropy = dense(hidden, weight, targets)
    torch.testing.assert_close(entropy, expected_entropy.detach(), rtol=0, atol=1e-12)
    assert not entropy.requires_grad
    torch.testing.assert_close(
        torch.autograd.grad((upstream[0] * logprobs).sum(), hidden),
        torch.autograd.grad((upstream[0] * expected_logprobs).sum(), hidden),
        rtol=0,
        atol=1e-12,
    )


def test_one_of_the_two_results_may_go_unused():
    hidden, weight, _, targets, upstream = problem()
    for k in (0, 1):
        ours = (upstream[k] * token_statistics(hidden, weight, targets, chunk_tokens=7)[k]).sum()
        reference = (upstream[k] * dense(hidden, weight, targets)[k]).sum()
        torch.testing.assert_close(
            torch.autograd.grad(ours, weight), torch.autograd.grad(reference, weight), rtol=0, atol=1e-12
        )


def test_a_step_up_the_gradient_raises_entropy():
    hidden, weight, _, targets, _ = problem()
    _, entropy = token_statistics(hidden, weight, targets)
    (gradient,) = torch.autograd.grad(entropy.mean(), weight)
    _, raised = token_statistics(hidden, weight + 0.01 * gradient, targets)
    # first order: ΔH = step · |gradient|²
    assert (raised.mean() - entropy.mean()).item() == pytest.approx(
        0.01 * gradient.square().sum().item(), rel=0.02
    )


# Safety -----------------------------------------------------------------------------------------------


def test_masked_entries_are_a_smaller_vocabulary():
    hidden, weight, bias, targets, upstream = problem()
    targets = targets % 15
    masked = torch.where(torch.arange(V) < 15, bias.detach(), -math.inf).requires_grad_()
    ours = token_statistics(hidden, weight, targets, bias=masked, chunk_tokens=7)
    reference = dense(hidden, weight[:15], targets, bias[:15])
    torch.testing.assert_close(ours, reference, rtol=0, atol=1e-12)
    assert (ours[1] <= math.log(15)).all()
    to_weight, to_masked = gradients(ours, upstream, (weight, masked))
    expected = gradients(reference, upstream, (weight, bias))
    torch.testing.assert_close(to_weight, expected[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(to_masked, expected[1], rtol=0, atol=1e-12)
    assert (to_weight[15:].abs() < 1e-30).all()


def test_a_masked_target_has_log_probability_minus_infinity():
    hidden, weight, _, _, _ = problem()
    bias = torch.zeros(V, dtype=torch.float64)
    bias[0] = -math.inf
    logprobs, entropy = token_statistics(hidden, weight, torch.zeros(T, dtype=torch.int64), bias=bias)
    assert (logprobs == -math.inf).all()
    assert entropy.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("scale", [0.0, 1e-4, 1.0, 30.0, 1e4, 1e8])
def test_bounds_hold_at_every_scale_of_logits(dtype, scale):
    hidden, weight, bias, targets, upstream = problem(dtype, scale)
    logprobs, entropy = token_statistics(hidden, weight, targets, bias=bias)
    assert (logprobs <= 0).all()
    assert (entropy >= 0).all()
    assert (entropy.double() <= math.log(V) * (1 + 1e-7)).all()
    for gradient in gradients((logprobs, entropy), upstream, (hidden, weight, bias)):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_rounding_lifts_entropy_above_ln_v(dtype):
    """Nearly uniform: ln V − H is about σ² / 2 = 5e-21, so that rounding alone decides on which side H is."""
    generator = torch.Generator().manual_seed(0)
    hidden = 1e-10 * torch.randn(4_000, 37, dtype=dtype, generator=generator)
    weight = torch.eye(37, dtype=dtype)
    _, entropy = token_statistics(hidden, weight, torch.zeros(4_000, dtype=torch.int64))
    assert (entropy <= torch.tensor(math.log(37), dtype=dtype)).all()
    torch.testing.assert_close(
        entropy.double(), torch.full((4_000,), math.log(37), dtype=torch.float64), rtol=1e-6, atol=0
    )


def test_large_logits_lose_no_precision():
    # A constant 4096 on all logits (exact in float32, whose step there is 0.0005) changes nothing.
    hidden, weight, _, targets, _ = problem(torch.float32)
    weight = (weight.detach() * 64).round() / 64  # logits on a grid of 1/1024: exact at 4096 too
    hidden = (hidden.detach() * 16).round() / 16
    shifted = token_statistics(hidden, weight, targets, bias=torch.full((V,), 4096.0))
    torch.testing.assert_close(shifted, token_statistics(hidden, weight, targets), rtol=0, atol=1e-6)


def test_not_finite_hidden_states_give_nan_and_leave_other_tokens_alone():
    hidden, weight, _, targets, _ = problem()
    broken = hidden.detach().clone()
    broken[3] = math.nan
    logprobs, entropy = token_statistics(broken, weight, targets)
    assert logprobs[3].isnan()
    assert entropy[3].isnan()
    assert logprobs[torch.arange(T) != 3].isfinite().all()


def test_no_tokens():
    hidden, weight, _, targets, _ = problem()
    logprobs, entropy = token_statistics(hidden[:0], weight, targets[:0])
    assert logprobs.shape == entropy.shape == (0,)
    (gradient,) = torch.autograd.grad(logprobs.sum() + entropy.sum(), weight)
    assert (gradient == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": torch.zeros(V, D + 1)}, r"weight must have shape"),
        ({"targets": torch.zeros(T + 1, dtype=torch.int64)}, r"targets must have shape \(37,\), got \(38,\)"),
        ({"bias": torch.zeros(V + 1)}, r"bias must have shape \(23,\), got \(24,\)"),
        ({"inverse_temperature": torch.ones(T, 1)}, r"inverse_temperature must have shape"),
        ({"chunk_tokens": 0}, "chunk_tokens must be at least 1, got 0"),
    ],
)
def test_guards(change, message):
    arguments = {
        "hidden": torch.zeros(T, D),
        "weight": torch.zeros(V, D),
        "targets": torch.zeros(T, dtype=torch.int64),
    }
    with pytest.raises(ValueError, match=message):
        token_statistics(**(arguments | change))


# Precision and memory ---------------------------------------------------------------------------------


def test_bfloat16_is_float32_statistics_of_bfloat16_logits():
    hidden, weight, _, targets, upstream = problem(torch.bfloat16)
    ours = token_statistics(hidden, weight, targets, chunk_tokens=7)
    assert [x.dtype for x in ours] == [torch.float32, torch.float32]
    logits = (hidden @ weight.T).float()
    identity = torch.eye(V)
    # Two units in the last place of float32: which kernel adds up is the processor's choice.
    torch.testing.assert_close(ours, dense(logits, identity, targets), rtol=2.4e-7, atol=1e-6)
    exact = [x.detach().double().requires_grad_() for x in (hidden, weight)]
    reference = gradients(dense(*exact, targets), upstream.double(), exact)
    for value, expected in zip(gradients(ours, upstream.float(), (hidden, weight)), reference, strict=True):
        assert value.dtype == torch.bfloat16
        torch.testing.assert_close(
            value.double(), expected, rtol=0.03, atol=0.03 * expected.abs().max().item()
        )


def test_wider_dtype_of_hidden_and_head_is_used():
    hidden, weight, _, targets, _ = problem(torch.float32)
    ours = token_statistics(hidden.bfloat16(), weight, targets)
    torch.testing.assert_close(
        ours, token_statistics(hidden.bfloat16().float(), weight, targets), rtol=0, atol=0
    )


def test_autocast_is_the_head_in_that_dtype_forward_and_backward():
    hidden, weight, _, targets, upstream = problem(torch.float32)
    expected = token_statistics(hidden.bfloat16(), weight.bfloat16(), targets, chunk_tokens=7)
    expected_gradients = gradients(expected, upstream, (hidden, weight))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = token_statistics(hidden, weight, targets, chunk_tokens=7)
        inside = gradients(ours, upstream, (hidden, weight))
    ours_again = token_statistics(hidden.bfloat16(), weight.bfloat16(), targets, chunk_tokens=7)
    outside = gradients(ours_again, upstream, (hidden, weight))
    torch.testing.assert_close(ours, expected, rtol=0, atol=0)
    torch.testing.assert_close(inside, expected_gradients, rtol=0, atol=0)
    torch.testing.assert_close(outside, expected_gradients, rtol=0, atol=0)
    assert inside[0].dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_a_backward_under_autocast_follows_its_forward(dtype):
    hidden, weight, _, targets, upstream = problem(dtype)
    expected = gradients(token_statistics(hidden, weight, targets), upstream, (hidden, weight))
    statistics = token_statistics(hidden, weight, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = gradients(statistics, upstream, (hidden, weight))
    torch.testing.assert_close(ours, expected, rtol=0, atol=0)


def test_deterministic_algorithms_are_enough():
    hidden, weight, bias, targets, upstream = problem()
    torch.use_deterministic_algorithms(True)
    try:
        gradients(token_statistics(hidden, weight, targets, bias=bias), upstream, (hidden, weight, bias))
    finally:
        torch.use_deterministic_algorithms(False)


def test_no_grad_gives_the_same_values():
    hidden, weight, _, targets, _ = problem()
    with torch.no_grad():
        ours = token_statistics(hidden, weight, targets)
    assert not ours[0].requires_grad
    torch.testing.assert_close(ours, token_statistics(hidden, weight, targets), rtol=0, atol=0)


class LargestTensor(TorchDispatchMode):
    """Remembers the most elements that any result of any operation had."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple) else (result,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


@pytest.mark.parametrize("entropy_gradient", [True, False])
@pytest.mark.parametrize("chunk_tokens", [32, None])
def test_no_tensor_is_larger_than_a_chunk_of_logits(monkeypatch, entropy_gradient, chunk_tokens):
    monkeypatch.setattr(
        "policies.statistics.token_statistics.CHUNK_BYTES", 32 * 300 * 4 + 1
    )  # 32 rows of float32
    hidden = torch.randn(512, 4, requires_grad=True)
    weight = torch.randn(300, 4, requires_grad=True)
    targets = torch.randint(300, (512,))
    with LargestTensor() as largest:
        logprobs, entropy = token_statistics(
            hidden, weight, targets, chunk_tokens=chunk_tokens, entropy_gradient=entropy_gradient
        )
        (logprobs + entropy).sum().backward()
    assert largest.elements == 32 * 300
