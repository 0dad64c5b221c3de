"""Names and settings as MLflow takes them for keys and parameters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tasks.names import escaped

MAX_PARAM_CHARACTERS = 6000  # MLflow's limits
MAX_KEY_CHARACTERS = 250


def flat_params(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """`{"a": {"b": 1}}` as `{"a.b": "1"}`, with keys and values that MLflow takes."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flat_params(value, f"{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            flat[clean_key(name)] = text[:MAX_PARAM_CHARACTERS]
    return flat


def clean_key(name: str) -> str:
    """A name as MLflow takes it for a key, and that of no other name; `tasks.names.unescaped` reads it back.

    One that is too long keeps its beginning and has a digest for the rest.
    """
    key = escaped(name)
    if len(key) <= MAX_KEY_CHARACTERS:
        return key
    digest = hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
    return f"{key[: MAX_KEY_CHARACTERS - len(digest) - 2]}--{digest}"
