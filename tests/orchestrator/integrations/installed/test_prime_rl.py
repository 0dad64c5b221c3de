"""The loss for prime-rl, found and called by prime-rl's own code, on a CPU.

No registry has the package: who has a checkout of it with Python 3.12 runs this, elsewhere it is skipped.
"""

from __future__ import annotations

import json
import sys
from types import ModuleType

import pytest
import torch

from tests.orchestrator.integrations.page import block

pytestmark = pytest.mark.filterwarnings("ignore")  # of libraries about one another


def test_the_loss_obeys_the_command_in_the_file(tmp_path, monkeypatch):
    pytest.importorskip("prime_rl.trainer.rl.loss", reason="prime-rl is not installed, and on no registry")
    from prime_rl.configs.trainer import CustomLossConfig, DefaultLossConfig
    from prime_rl.trainer.rl.loss import compute_loss, setup_rl_loss_fn

    module = ModuleType("control_of_the_page")
    exec(block("python", "def controlled"), vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    path = tmp_path / "command.json"
    path.write_text(json.dumps({"u": 0.5}))
    log_probabilities = torch.tensor([-0.1, -2.0, -1.0])
    config = CustomLossConfig(import_path=f"{module.__name__}.controlled", kwargs={"path": str(path)})

    def gradient_and_metrics(loss_config, advantages):
        now = log_probabilities.clone().requires_grad_()
        loss, metrics = compute_loss(
            [now], [log_probabilities], None, [torch.tensor(advantages)], [torch.tensor([True, True, False])],
            None, None, None, setup_rl_loss_fn(loss_config), 1, 1, 1,
        )  # fmt: skip
        loss.backward()
        return now.grad.tolist(), metrics

    gradient, metrics = gradient_and_metrics(config, [1.0, 1.0, 1.0])
    # On policy the gradient is minus the advantage, here 1 + 0.5 · (−log π); a masked token has none.
    assert gradient == pytest.approx([-(1 + 0.5 * 0.1), -(1 + 0.5 * 2.0), 0.0])
    assert metrics["loop_u"].tolist() == [0.5]
    by_hand, _ = gradient_and_metrics(DefaultLossConfig(), [1.05, 2.0, 1.0])
    assert gradient == pytest.approx(by_hand)
    path.write_text(json.dumps({"u": 0.0}))
    assert gradient_and_metrics(config, [1.0, 1.0, 1.0])[0] == pytest.approx([-1.0, -1.0, 0.0])
