"""Separates the settings that the arms of a campaign share from those in which they differ."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from orchestrator.storage.run_data import CampaignRecords

ABSENT = "–"
PLANT = re.compile(r"loops\.[^.]+\.plant(\.|$)")


def differing(campaign: CampaignRecords) -> list[tuple[str, list[str]]]:
    """Settings that not all arms have alike: dotted key, and its value in each arm."""
    flat = [_settings(arm.runs[0].info.config) for arm in campaign.arms]
    keys = list(dict.fromkeys(key for settings in flat for key in settings))
    keys = [key for key in keys if not any(other.startswith(f"{key}.") for other in keys)]  # an empty section
    rows = [(key, [settings.get(key, ABSENT) for settings in flat]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def shared(campaign: CampaignRecords) -> list[tuple[str, str]]:
    """Settings that all arms have alike."""
    if not campaign.arms:
        return []
    different = {key for key, _ in differing(campaign)}
    first = _settings(campaign.arms[0].runs[0].info.config)
    return [(key, value) for key, value in first.items() if key not in different]


def _settings(config: Mapping[str, Any]) -> dict[str, str]:
    """All but the plants that loops were designed for: they set nothing, and have a table of their own."""
    return {key: value for key, value in flatten(config).items() if not PLANT.match(key)}


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """`{"a": {"b": 1}}` as `{"a.b": "1"}`."""
    flat: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            flat[f"{prefix}{key}"] = text
    return flat
