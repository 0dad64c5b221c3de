"""Extends a worker of a vLLM server on a CPU: the server imports this, and then receives over gloo.

``--worker-extension-cls tests.policies.gloo_worker.GlooWeights``
"""

from __future__ import annotations

from policies.rollouts.vllm_worker import PushedWeights
from tests.policies.gloo_vllm import workers_end

EXTENSION = "tests.policies.gloo_worker.GlooWeights"


class GlooWeights(PushedWeights):
    """The extension by another name, so that this module is imported."""


workers_end(setattr)
