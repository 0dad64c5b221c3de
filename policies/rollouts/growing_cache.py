"""A layer's cache of keys and values that is not copied whole for every token behind it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

ROOM = 64
"""Tokens for which a layer's cache gets room at a time: it is copied once in so many steps, and not at each."""


class GrowingLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values with room behind them for those of the next tokens.

    What it is made from copies all of them at every step, to put one token behind.
    """

    def __init__(self, layer: DynamicLayer) -> None:
        super().__init__()
        self.lazy_initialization(layer.keys, layer.values)
        self.keys, self.values = self.rooms = layer.keys, layer.values

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        start = self.keys.shape[-2]
        end = start + keys.shape[-2]
        if end > self.rooms[0].shape[-2]:
            more = (0, 0, 0, end - start + ROOM)
            self.rooms = torch.nn.functional.pad(self.keys, more), torch.nn.functional.pad(self.values, more)
        for room, new in zip(self.rooms, (keys, values), strict=True):
            room[:, :, start:end] = new
        self.keys, self.values = (room[:, :, :end] for room in self.rooms)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        super().batch_select_indices(indices)
        self.rooms = self.keys, self.values
