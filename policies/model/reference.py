"""The reference policy: a policy that stays as it is, which the trained one is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from policies.model.loading import LoadedPolicy

START = "start"
"""The name of the policy that a run starts from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferencePolicy:
    """A policy whose weights nothing moves.

    Adapters leave the weights that a run started from in their place, so switched off they are the start, at no cost.
    Otherwise it is a model of its own, as large as the trained one.
    """

    policy: LoadedPolicy
    inside: bool
    """Whether it is the trained policy itself, without what its adapters have learned."""

    @classmethod
    def within(cls, trained: LoadedPolicy) -> ReferencePolicy:
        """The start of a policy with adapters."""
        return cls(policy=trained, inside=True)

    @classmethod
    def beside(cls, other: LoadedPolicy, trained: LoadedPolicy) -> ReferencePolicy:
        """Another policy, frozen.

        Raises:
            ValueError: its tokens are not those of the trained policy.
        """
        if other.tokenizer.get_vocab() != trained.tokenizer.get_vocab():
            raise ValueError(
                f"policy.reference: its tokenizer must have the tokens of policy.source, in their order, and has "
                f"{other.vocabulary_size} to {trained.vocabulary_size}, some of them others; name a model of the same family"
            )
        other.model.requires_grad_(False)
        return cls(policy=other, inside=False)

    @contextmanager
    def shown(self) -> Iterator[LoadedPolicy]:
        """The reference as a policy, for a while in which nothing is trained."""
        with self.policy.reference() if self.inside else nullcontext():
            yield self.policy

    def to(self, device: torch.device) -> None:
        """Move it to where the trained policy is."""
        if not self.inside:
            self.policy.model.to(device)
