"""Predicts the change of entropy by the next policy-gradient step, to first order.

At one state with a softmax policy, for a small change Δz of the logits (arXiv 2505.22617, METHODS 1.2):

    ΔH ≈ −Cov_{a∼π}(log π_a, Δz_a)
    policy gradient,          Δz_a = η π_a A_a :   ΔH ≈ −η Cov_{a∼π}(log π, π·A)
    natural policy gradient,  Δz_a = η A_a :       ΔH ≈ −η Cov_{a∼π}(log π, A)

The learner's real step at a state is that of the one token it sampled, Δz = η A (e_a − π), with

    ΔH = −η A · (S_a − E_{v∼π} S_v),     S_a = π_a (log π_a + H)

S is the discriminator of 2602.03392: positive for a token likelier than e^−H, which takes entropy away when
it is rewarded.  Since E_π (log π + H) = 0, the mean of A·S over a ∼ π is exactly Cov(log π, π·A): the
sampled form is an unbiased sample of the theorem wherever E_π A = 0.

The entropy bonus adds u·H to what is maximised.  With ∂H/∂z_a = −π_a (ln π_a + H) its own step of size η is
Δz_a = −η u S_a, and

    ΔH = Σ_a ∂H/∂z_a Δz_a = η u Σ_a π_a² (ln π_a + H)² = η u E_{a∼π}[S_a (ln π_a + H)]

which is never negative.  Both steps go through the same optimiser in the same update, so the unknown η
cancels in their ratio: the command that keeps entropy constant is u = −(predicted change) / (effect),
without a gain to fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def discriminator(logprobs: Tensor, entropy: Tensor) -> Tensor:
    """S = π_a (log π_a + H) of each sampled token [T], given log π_a [T] and H [T]."""
    return logprobs.exp() * (logprobs + entropy)


def bonus_effect(logprobs: Tensor, entropy: Tensor) -> Tensor:
    """S (log π_a + H) = π_a (log π_a + H)² of each sampled token [T], given log π_a [T] and H [T].

    Its mean is the change of entropy that an entropy bonus of coefficient 1 makes [nats for a step of size 1
    in the logits], to first order and with the same left out as in `predicted_change`.  Unlike that it does
    not lose its sign in noise, as no term is negative.  For the bonus spread evenly over tokens; the push
    of one that is kept to some of them is smaller.
    """
    return discriminator(logprobs, entropy) * (logprobs + entropy)


def predicted_change(mean_discriminator: float, mean_advantage: float, mean_product: float) -> float:
    """−Cov(S, A) over tokens, from the means of S, A and S·A [nats for a step of size 1 in the logits].

    The sampled form summed over tokens, with E_π S of each state, which takes the whole vocabulary,
    replaced by the mean of S over the batch.  Left out besides that: that states share parameters, so a
    step at one moves the logits of all; Adam's scaling, clipping of ratio and gradient, and the step size
    itself, so only the sign and the shape over a run are meaningful; any actuator's push;
    second order, which decides where rewards are random (2512.16912); and that the next iteration's
    entropy is read at other states.
    """
    return mean_discriminator * mean_advantage - mean_product
