"""Last hidden states of rows; a prompt that several rows share is read once, and each row continues from it.

``G`` responses of ``R`` tokens to a prompt of ``P`` cost ``P + G R`` tokens instead of ``G (P + R)``, forward and
backward; keys and values of the prompt take the gradient of all its responses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from policies.sharding import blocks, is_sharded
from policies.statistics.packed_attention import (
    is_packed,
    keeps_keys_and_values,
    packed_hidden_states,
)
from policies.statistics.sequences import Sequences

if TYPE_CHECKING:  # see loading.py
    from transformers import PreTrainedModel


def hidden_states(model: PreTrainedModel, sequences: Sequences, rows: Tensor, columns: Tensor) -> Tensor:
    """[T, H] at places (row, column) [T], none of which is before the last token of a prompt."""
    if is_packed(model):
        return packed_hidden_states(model, sequences, rows, columns)
    shared = len(set(sequences.prompt.tolist())) < len(sequences.prompt)
    # A sharded model is run by all ranks together and as often, whether their rows share prompts or not.
    if (shared or is_sharded(model)) and keeps_keys_and_values(model):
        hidden = _after_prompts(model, sequences)
        columns = columns - (sequences.prompt_lengths[rows] - 1)
    else:
        hidden = model.get_decoder()(
            input_ids=sequences.input_ids.to(model.device),
            attention_mask=sequences.attention_mask.to(model.device),
            use_cache=False,
        ).last_hidden_state
    return hidden[rows.to(model.device), columns.to(model.device)]


def _after_prompts(model: PreTrainedModel, sequences: Sequences) -> Tensor:
    """[N, 1 + R, H] of each row, from the last token of its prompt to the last but one of its response."""
    decoder, device = model.get_decoder(), model.device
    lengths = sequences.prompt_lengths
    numbers = sequences.prompt.tolist()
    different = {number: which for which, number in enumerate(dict.fromkeys(numbers))}
    owner = torch.tensor([different[number] for number in numbers])
    first = torch.tensor([numbers.index(number) for number in different])

    # Padded on the left, so that a response stands right behind its prompt.
    place = torch.arange(int(lengths.max())) - (lengths.max() - lengths[first])[:, None]
    prompt_mask = (place >= 0).long()
    positions = place.clamp(min=0)
    layers = [_Prompts() for _ in blocks(model)]
    prompts = decoder(
        input_ids=sequences.input_ids[first].gather(1, positions).to(device),
        attention_mask=prompt_mask.to(device),
        position_ids=positions.to(device),
        past_key_values=Cache(layers=layers),
        use_cache=True,
    ).last_hidden_state

    # Nothing comes after the last token of a row, so what the decoder makes of it is not used.
    longest = max(int((sequences.lengths - lengths).max()) - 1, 1)
    place = lengths[:, None] + torch.arange(longest)
    mask = torch.cat([prompt_mask[owner], (place < sequences.lengths[:, None]).long()], dim=1)
    owner = owner.to(device)
    responses = decoder(
        input_ids=sequences.input_ids.gather(1, place.clamp(max=sequences.input_ids.shape[1] - 1)).to(device),
        attention_mask=mask.to(device),
        position_ids=place.to(device),
        past_key_values=Cache(layers=[_Responses(layer, owner) for layer in layers]),
        use_cache=True,
    ).last_hidden_state
    return torch.cat([prompts[owner, -1:], responses], dim=1)


# Neither layer grows: a decoder block that is run again in the backward pass (`recompute.py`) has to find, and
# to leave, what it found and left the first time.


class _Prompts(DynamicLayer):  # type: ignore[misc]
    """Keeps the keys and values of prompts."""

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        self.keys, self.values = keys, values
        return keys, values

    def get_seq_length(self) -> int:
        return 0


class _Responses(DynamicLayer):  # type: ignore[misc]
    """Puts the keys and values of each row's prompt before its own."""

    def __init__(self, prompts: _Prompts, owner: Tensor) -> None:
        super().__init__()
        self.prompts, self.owner = prompts, owner

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        whole = zip((self.prompts.keys[self.owner], self.prompts.values[self.owner]), (keys, values))
        keys, values = (torch.cat(parts, dim=-2) for parts in whole)
        return keys, values

    def get_seq_length(self) -> int:
        return int(self.prompts.keys.shape[-2])
