"""Loads GGUF files as model folders: dequantised to float32 once, and kept.

The format is for inference.  Training starts from the values that its quantised weights represent; llama.cpp's
converter can write GGUF again.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path

import torch

from policies.model.cache import made_once
from policies.model.saving import save_model


def converted(file: Path) -> Path:
    """The model folder (safetensors, configuration, tokenizer) of a GGUF file.

    It is in the cache, under a hash of the file's content and the version of transformers.

    Raises:
        ValueError: transformers cannot read it.
    """
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    key = hashlib.sha256(f"{digest} {version('transformers')}".encode()).hexdigest()[:20]
    return made_once(f"gguf-{key}", lambda folder: _convert(file, folder))


def _convert(file: Path, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.quantization_config import GgufConfig

    model = AutoModelForCausalLM.from_pretrained(  # nosec B615  # the source that the user named
        file.parent,
        gguf_file=file.name,
        # Without it the model counts as quantised even where all weights are float32, and cannot be saved.
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
    )
    save_model(model, folder)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)  # nosec B615  # the source that the user named
