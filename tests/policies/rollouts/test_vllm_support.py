"""What vLLM's CPU backend can attend with, by its own list of version 0.32."""

from __future__ import annotations

import pytest

from policies.rollouts.vllm_support import why_no_head


@pytest.mark.parametrize("size", [32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512, None])
def test_heads_of_these_sizes_are_taken(size):
    assert why_no_head(size) is None


@pytest.mark.parametrize("size", [16, 48, 111, 513])
def test_heads_of_another_size_are_refused_with_those_that_there_are(size):
    assert f"32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512, got head_dim {size};" in why_no_head(size)
