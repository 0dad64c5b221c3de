"""Prompts as turns of a conversation, in the words of the tokenizer's own chat template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # see loading.py
    from transformers import PreTrainedTokenizerBase

_SAID = "⟨said⟩"
"""Stands for a response while the template is asked what comes after one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """How prompts are put to a chat model: each as the turn of a user, whom the policy answers."""

    system: str | None = None
    """The system's turn before it; null leaves that to the template."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the template itself, such as ``enable_thinking``."""

    def opening(self, tokenizer: PreTrainedTokenizerBase, prompt: str, system: str = "") -> list[int]:
        """Token ids up to where the policy's first turn begins; ``system``, the prompt's own, stands in place of ours."""
        return self._tokens(tokenizer, self._render(tokenizer, [_turn("user", prompt)], system))

    def reply(self, tokenizer: PreTrainedTokenizerBase, text: str, ended_with: int | None) -> list[int]:
        """Token ids from the end of the policy's turn to where its next one begins, with a user's turn between.

        ``ended_with`` is the stop token that the policy has written itself, where it has.
        """
        turns = [_turn("user", "?"), _turn("assistant", _SAID), _turn("user", text)]
        _, _, rest = self._render(tokenizer, turns).rpartition(_SAID)
        if ended_with is not None:
            rest = rest.removeprefix(tokenizer.decode([ended_with]))
        return self._tokens(tokenizer, rest)

    def _render(
        self, tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], system: str = ""
    ) -> str:
        """The conversation as text.

        Raises:
            ValueError: the tokenizer has no template, or it refuses these turns.
        """
        if tokenizer.chat_template is None:
            raise ValueError(
                "policy.chat: the tokenizer has no chat template; remove policy.chat to give it prompts as they "
                "stand, or choose a model that was made for conversations"
            )
        from jinja2 import TemplateError

        system = system or self.system or ""
        if system or self.system is not None:
            turns = [_turn("system", system), *turns]
        try:
            return str(
                tokenizer.apply_chat_template(
                    turns, add_generation_prompt=True, tokenize=False, **self.arguments
                )
            )
        except TemplateError as error:
            raise ValueError(
                f"policy.chat: the tokenizer's chat template refuses the conversation: {error}"
            ) from error

    def _tokens(self, tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
        # The template has written all special tokens that there are to be.
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
