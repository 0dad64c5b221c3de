"""Each published rule written down again from its paper or code, beside ours, on random entropies."""

from math import cos, exp, inf, log, pi

import numpy as np
import pytest

from controllers import (
    PID,
    Annealed,
    Band,
    Constant,
    DualAscent,
    FeedbackLoop,
    Increment,
    InitialAnchored,
    LogRatio,
    replay,
)


@pytest.fixture(params=[0, 1, 2], ids=lambda seed: f"seed{seed}")
def entropies(request):
    """Rough, positive, around 0.3 nats, with excursions of some ten iterations."""
    rng = np.random.default_rng(request.param)
    swings = [0.0]
    for noise in rng.normal(scale=0.15, size=199):
        swings.append(0.9 * swings[-1] + noise)
    return 0.3 * np.exp(swings)


def commands(entropies, *, reference, law, low=-inf, high=inf, neutral=0.0):
    loop = FeedbackLoop(
        sensor="entropy", reference=reference, law=law, actuator="a", low=low, high=high, neutral=neutral
    )
    return [trace.u for trace in replay(loop, [{"entropy": h} for h in entropies])]


def test_entropic(entropies):
    kp, ki, target, s, expected = 1.0, 0.01, 0.1, 0.0, []
    entropies = 2 * entropies  # far enough from its target for the limit to be met
    for h in entropies:
        e = h - target  # their sign: positive when entropy is too high, and so is alpha
        expected.append(-np.clip(kp * e + ki * s, -1, 1))
        s += e
    ours = commands(
        entropies,
        reference=Constant(value_nats=target),
        law=PID(kp=kp, ki=ki, anti_windup=0.0),
        low=-1,
        high=1,
    )
    assert ours == pytest.approx(expected, abs=1e-12)
    assert 0 < expected.count(-1) < len(expected)


def test_skywork_or1(entropies):
    target, delta, highest, value, coefficient, expected = 0.3, 1e-4, 5e-4, 0.0, 0.0, []
    for h in entropies:
        expected.append(coefficient)
        value = min(max(value + (delta if h < target else -delta), 0.0), highest)
        coefficient = value * (h < target)
    law = Increment(step_size=delta, gated=True, low=0.0, high=highest, initial=0.0)
    ours = commands(entropies, reference=Constant(value_nats=target), law=law, low=0.0, high=highest)
    assert ours == expected  # bit for bit
    assert {0.0, highest} < set(expected)


def test_mai_thinking_1(entropies):
    target, delta, k_max, k, expected = 0.3, 0.25, 2.5, 0.0, []
    for h in entropies:
        expected.append(k)
        k = np.clip(k + delta * np.sign(target - h), 0, k_max)
    law = Increment(step_size=delta, low=0.0, high=k_max, initial=0.0)
    assert commands(entropies, reference=Constant(value_nats=target), law=law) == expected
    assert max(expected) > 0


def test_sac_temperature(entropies):
    target, lr, log_alpha, expected = 0.3, 3e-2, log(0.01), []
    for h in entropies:
        expected.append(exp(log_alpha))
        log_alpha += lr * (target - h)
    law = DualAscent(rate=lr, space="log", initial=0.01)
    ours = commands(entropies, reference=Constant(value_nats=target), law=law)
    assert ours == pytest.approx(expected, rel=1e-12)


def test_aer(entropies):
    tau, eta, alpha, expected = 0.4, 0.05, 0.01, []
    target = tau * entropies[0]
    for h in entropies:
        expected.append(alpha)
        alpha = max(0.0, alpha + eta * (target - h))
    law = DualAscent(rate=eta, space="linear", initial=0.01)
    ours = commands(entropies, reference=InitialAnchored(fraction=tau), law=law, low=0.0)
    assert ours == pytest.approx(expected, abs=1e-14)
    assert 0.0 in expected


def test_aent(entropies):
    low, high, lr, coefficient, expected = 0.25, 0.35, 1e-3, 1e-3, []
    for h in entropies:
        expected.append(coefficient)
        coefficient -= lr * (min(0, h - low) + max(0, h - high))
        coefficient = np.clip(coefficient, 1e-5, 3e-3)
    ours = commands(
        entropies,
        reference=Band(low_nats=low, high_nats=high),
        law=DualAscent(rate=lr, space="linear", initial=1e-3),
        low=1e-5,
        high=3e-3,
        neutral=1e-3,
    )
    assert ours == pytest.approx(expected, abs=1e-15)


def test_one_sided_proportional(entropies):
    """2606.00096: λ = Kp·[H* − H]_+."""
    ours = commands(entropies, reference=Constant(value_nats=0.3), law=PID(kp=0.03, ki=0.0), low=0.0)
    assert ours == pytest.approx(0.03 * np.maximum(0.3 - entropies, 0))


@pytest.mark.parametrize("init_steps", [1, 3])
def test_e3_with_annealed_target(entropies, init_steps):
    """Its scheduler: steps from 1, no move while the anchor is taken, target annealed after use."""
    entropies = 0.3 * (entropies / 0.3) ** 0.3  # gentle: on a record T changes nothing, and would run away
    vocabulary, max_steps, annealing_step = 151_936, 200, 200 - int(200 * 0.4)
    temperature, target, initial_target, expected = 0.6, None, None, []
    for step, h in enumerate(entropies, start=1):
        if step > init_steps:
            if target is None:
                target = initial_target = np.mean(entropies[:init_steps])
            factor = log(vocabulary) + log(log(vocabulary))
            temperature *= 1 + temperature * log(target / h) / factor
            if step >= annealing_step:
                progress = (step - annealing_step) / (max_steps - annealing_step)
                target = initial_target * (0.9 + 0.1 * 0.5 * (1 + cos(pi * progress)))
        expected.append(temperature)
    anchored = InitialAnchored(fraction=1.0, num_readings=init_steps)
    ours = commands(
        entropies,
        reference=Annealed(
            reference=anchored, final_fraction=0.9, start_iteration=annealing_step, num_iterations=80
        ),
        law=LogRatio(vocabulary_size=vocabulary),
        neutral=0.6,
    )
    assert ours == pytest.approx(expected, rel=1e-12)
