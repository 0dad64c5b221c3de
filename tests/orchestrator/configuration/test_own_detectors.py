"""Detectors of a user's own: what a run would ask of one at its end is asked when the campaign is read."""

from __future__ import annotations

import pytest
import yaml

from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError

PARTS = """
from dataclasses import dataclass
from typing import ClassVar
from controllers.guardrails.base import Ceiling
part = dataclass(frozen=True, kw_only=True)

@part
class Good(Ceiling):
    reading: ClassVar[str] = "rollout/length"
    measures: ClassVar[tuple[str, str]] = ("mean length", " tokens")
    threshold: float = 6.0
    patience: int = 3
    action: str = "warn"
@part
class NoReading(Ceiling):
    measures: ClassVar[tuple[str, str]] = ("mean length", " tokens")
    threshold: float = 6.0
    patience: int = 3
    action: str = "warn"
@part
class NoPatience(Ceiling):
    reading: ClassVar[str] = "rollout/length"
    measures: ClassVar[tuple[str, str]] = ("mean length", " tokens")
    threshold: float = 6.0
    action: str = "warn"
@part
class OneText(Good):
    reads = "rollout/length"
@part
class NoSide(Good):
    side: ClassVar[str] = "left"
@part
class NoUnit(Good):
    measures: ClassVar[str] = "mean length"
@part
class NameIsASetting(Good):
    name: str = "x"
"""


@pytest.fixture
def read(tmp_path):
    (tmp_path / "parts.py").write_text(PARTS)
    path = tmp_path / "campaign.yaml"

    def detector(**settings):
        content = {
            "name": "own",
            "task": {"kind": "arithmetic", "num_digits": 1, "operations": ["+"]},
            "learner": {"iterations": 2, "prompts_per_iteration": 2, "group_size": 2},
            "guardrails": {"own": [settings]},
            "arms": [{"name": "a"}],
        }
        path.write_text(yaml.safe_dump(content))
        return read_campaign(path).arms[0].config.guardrails.own[0]

    return detector


def test_a_sound_one_is_taken(read):
    found = read(kind="parts.py:Good", action="stop", threshold=2)
    assert (found.action, found.threshold, found.patience) == ("stop", 2, 3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"kind": "Good", "action": "explode"},
            "action must be one of warn, hold, rollback, stop, got 'explode'",
        ),
        ({"kind": "Good", "patience": 0}, "patience must be >= 1, got 0"),
        (
            {"kind": "NoReading"},
            "reads must name readings, and raises: .*reading.*; set reading in the class",
        ),
        ({"kind": "NoPatience"}, "patience must be a field, int, got None; set it in the class"),
        ({"kind": "OneText"}, "reads must be a tuple of names of readings, got 'rollout/length'; name them"),
        ({"kind": "NoSide"}, "side must be one of low, high, none, got 'left'"),
        ({"kind": "NoUnit"}, "measures must be what it reads and the unit, two texts, got 'mean length'"),
        (
            {"kind": "NameIsASetting"},
            "name must not be a setting, for it names the class; write name: ClassVar",
        ),
    ],
)
def test_what_breaks_a_run_is_refused_in_one_line_with_file_and_key(read, tmp_path, settings, said):
    kind = f"parts.py:{settings['kind']}"
    with pytest.raises(ConfigError, match=said) as refused:
        read(**settings | {"kind": kind})
    (line,) = str(refused.value).split("\n")
    assert line.startswith(f"{tmp_path / 'campaign.yaml'}: guardrails.own")
    assert ";" in line
