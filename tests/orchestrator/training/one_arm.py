"""One arm of a campaign, trained in this process."""

from __future__ import annotations

import torch
from safetensors.torch import load_file

from orchestrator.campaign import prepare
from orchestrator.training import run as worker


def trained(campaign, name):
    """Train the arm of that name with seed 0; give its training records and the final weights."""
    folder = prepare(campaign).run(name, 0)
    assert worker.main(str(folder.path)) == worker.EXIT_DONE, folder.read_status().reason
    records = [record.metrics for record in folder.records() if record.kind == "train"]
    return records, load_file(folder.policy_path / "model.safetensors")


def same(one, other):
    """Whether weights are the same to the last bit."""
    return all(torch.equal(one[name], other[name]) for name in one)
