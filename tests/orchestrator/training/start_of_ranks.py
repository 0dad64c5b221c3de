"""One of two ranks that choose a start, of which the second always measures more entropy than there is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from orchestrator.configuration.models import RunConfig
from orchestrator.storage.run_folder import RunFolder
from orchestrator.training import start
from orchestrator.training.ranks import Ranks

if __name__ == "__main__":
    torch.set_num_threads(1)
    ranks, folder = Ranks.of_environment(), RunFolder(Path(sys.argv[1]))
    ranks.connect(torch.device("cpu"))
    measure = start.rollout_entropy
    start.rollout_entropy = lambda *given, **named: measure(*given, **named) + 5.0 * ranks.rank
    config, policy = start.load_start(RunConfig(**folder.read_info().config), 0, folder, ranks)
    decided = {
        "temperature": config.rollout.temperature,
        "shares": [str(p.shape) for p in policy.model.parameters()],
    }
    (folder.path / f"decided-{ranks.rank}.json").write_text(json.dumps(decided))
    ranks.gather(None)
