"""What every test shares: few threads, switches for other roundings, and a tiny campaign that trains in seconds."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml

from tests.elsewhere import STARTUP, python_path, sitecustomize

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("untimed")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if sitecustomize.asked_size():  # in the processes that tests start, too
    os.environ["PYTHONPATH"] = os.pathsep.join([STARTUP, python_path()])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine lacks the software for, with the reason."""
    marked = [item for item in items if item.get_closest_marker("vllm")]
    if not marked:
        return
    from policies.rollouts.vllm_support import why_no_vllm  # torch, which other tests do without

    if reason := why_no_vllm():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish() -> None:
    """What was imported stays: looking for garbage in it would take half a second each time."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Policies that tests make are shared among them, workers of xdist included, and with no other session."""
    of_session = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        of_session = of_session.parent
    os.environ["ENTROSTAT_CACHE"] = str(of_session / "cache")


@pytest.fixture
def campaign_content() -> dict[str, Any]:
    """A campaign whose run takes about a second, as a plain mapping."""
    return {
        "name": "small",
        "policy": {
            "source": "builtin:tiny",
            "architecture": {"hidden_size": 32, "intermediate_size": 64, "num_layers": 2, "num_heads": 1},
            # Right one time in five, so that there are advantages and an update is one.
            "warm_start": {"num_steps": 120, "batch_size": 32, "learning_rate": 1.0e-2, "error_rate": 0.1},
        },
        "task": {"kind": "arithmetic", "num_digits": 1},
        "learner": {
            "iterations": 6,
            "prompts_per_iteration": 4,
            "group_size": 4,
            "learning_rate": 1.0e-3,
            "checkpoint_every": 2,
            "accelerator": "cpu",
        },
        "rollout": {"max_tokens": 8},
        "evaluation": {"every": 4, "num_problems": 6, "num_samples": 4, "pass_at": [4]},
        "execution": {"threads": 1},
        "arms": [
            {"name": "grpo", "method": "grpo"},
            {
                "name": "held",
                "method": "entropic",
                "loops": {"entropy": {"reference": {"kind": "constant", "value_nats": 0.4}}},
            },
        ],
    }


@pytest.fixture
def write_campaign(
    tmp_path: Path, campaign_content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Write the small campaign, changed by ``{"dotted.key": value}``, into a fresh working directory."""
    monkeypatch.chdir(tmp_path)

    def write(changes: dict[str, Any] | None = None) -> Path:
        for key, value in (changes or {}).items():
            *parents, last = key.split(".")
            node: Any = campaign_content
            for parent in parents:
                node = node[int(parent)] if isinstance(node, list) else node.setdefault(parent, {})
            if isinstance(node, list) and int(last) == len(node):
                node.append(value)
            else:
                node[int(last) if isinstance(node, list) else last] = value
        path = tmp_path / "campaign.yaml"
        path.write_text(yaml.safe_dump(campaign_content, sort_keys=False))
        return path

    return write
