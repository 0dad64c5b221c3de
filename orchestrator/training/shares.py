"""Tensors of a checkpoint that are spread over ranks: each rank writes and reads its own share of them.

They are in a folder beside the checkpoint's file, as `torch.distributed.checkpoint` writes it, and can be read for any
other number of ranks.  The file holds the rest, names the folder and has the checksums of what is in it, so it stands
for both: it is renamed and kept under a second name like any other, and a folder that no file names is left over.
"""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor, distribute_tensor

from orchestrator.storage.files import sync_folder
from orchestrator.storage.run_folder import SHARES, RunFolder
from orchestrator.training.checkpoint_files import (
    DamagedCheckpointError,
    SealedCheckpoints,
    digest_of,
    keep,
    open_checkpoint,
)
from orchestrator.training.ranks import Ranks
from policies.model.skeleton import read_alone

_KEY = "shares"

Place = tuple[str | int, ...]
"""The place of a tensor in a checkpoint: the keys that lead to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shares:
    """What a checkpoint says of its spread tensors."""

    folder: str
    sums: dict[str, str]
    """Checksum of each file."""
    keys: list[tuple[Place, str]]
    """Name in the folder of the tensor that belongs at each place; tied weights have one."""


class WholeCheckpoints(SealedCheckpoints):
    """Checkpoints of a process that has all of the policy: what is in shares is put together."""

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        content: dict[str, Any] = super().load_checkpoint(path, *args, **kwargs)
        shares = _shares(content)
        if shares is not None:
            known = FileSystemReader(Path(path).parent / shares.folder).read_metadata().state_dict_metadata
            _read(content, Path(path), lambda _, key: _empty(known[key]))
        return content


def write_shares(checkpoint: dict[str, Any], path: Path, ranks: Ranks) -> dict[str, Any]:
    """Write the spread tensors of a checkpoint beside ``path``; give the rest of it.  All ranks come here.

    Raises:
        OSError: a rank cannot write its share; on all of them.
    """
    keys: list[tuple[Place, str]] = []
    tensors: dict[str, Tensor] = {}
    seen: dict[int, str] = {}
    for place, tensor in _spread(checkpoint):
        key = seen.setdefault(id(tensor), "/".join(map(str, place)))
        keys.append((place, key))
        tensors[key] = tensor.detach()
    folder = path.parent / ranks.of_first(f"{token_hex(8)}{SHARES}")
    try:
        save(tensors, storage_writer=FileSystemWriter(folder), process_group=ranks.group)
        sums = ranks.gather_done(lambda: _sums(folder, ranks))
    except (CheckpointException, OSError) as error:
        if ranks.is_first:
            shutil.rmtree(folder, ignore_errors=True)
        raise _of_disk(error) from error
    shares = _Shares(folder=folder.name, sums={k: v for part in sums for k, v in part.items()}, keys=keys)
    return {**_without_spread(checkpoint), _KEY: asdict(shares)}


def read_shares(path: Path, weights: Mapping[str, Tensor], trained: Sequence[Tensor]) -> dict[str, Any]:
    """A checkpoint, of whose large tensors only this rank's share is read, whichever way they were written.

    Args:
        path: the checkpoint's file.
        weights: by their names there; what is spread of them is read into them.
        trained: those of the optimiser, in its order, which what it keeps of them is spread like.
    """

    def target(place: Place) -> Tensor | None:
        match place:
            case ("state_dict", str(name)) if name in weights:
                return weights[name].detach()
            case ("optimizer_states", 0, "state", int(number), "exp_avg" | "exp_avg_sq"):
                return torch.empty_like(trained[number], requires_grad=False)
        return None

    content = open_checkpoint(path)
    if _shares(content) is not None:
        _read(content, path, lambda place, _: cast(Tensor, target(place)))
        return content
    for place, whole in list(_tensors(content)):
        mine = target(place)
        if isinstance(mine, DTensor):
            share = distribute_tensor(whole, mine.device_mesh, mine.placements, src_data_rank=None)
            _put(content, place, mine.copy_(share))
    return content


def check_shares(content: dict[str, Any], path: Path, ranks: Ranks) -> None:
    """Make sure that the files that a checkpoint names are what was written; nothing where it names none.

    They are as large as the policy, so each rank looks at some of them, and no two at the same.

    Raises:
        DamagedCheckpointError: one of this rank's is not.
    """
    if (shares := _shares(content)) is None:
        return
    for name, digest in list(shares.sums.items())[ranks.rank :: ranks.size]:
        file = path.parent / shares.folder / name
        if not file.is_file():
            raise DamagedCheckpointError(f"{path}: {file} is missing")
        if digest_of(file) != digest:
            raise DamagedCheckpointError(f"{path}: {file} is not what was written, by its checksum")


def keep_shares(content: dict[str, Any], source: Path, target: Path) -> None:
    """Keep the folder that a checkpoint names beside another file too: links where the disk has them."""
    if (shares := _shares(content)) is None:
        return
    folder = target.parent / shares.folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in shares.sums:
        keep(source.parent / shares.folder / name, folder / name)


def drop_unnamed(folder: RunFolder) -> None:
    """Remove the shares in a run's folder that no checkpoint names; all stay where one cannot be read."""
    if not folder.shares_paths:
        return
    try:
        named = [_shares(open_checkpoint(path)) for path in folder.checkpoint_path.parent.glob("*.ckpt")]
    except (OSError, RuntimeError, ValueError, LookupError, EOFError, pickle.UnpicklingError):
        return
    for path in folder.shares_paths:
        if path.name not in {shares.folder for shares in named if shares}:
            shutil.rmtree(path, ignore_errors=True)


def _read(content: dict[str, Any], path: Path, target: Callable[[Place, str], Tensor]) -> None:
    """Read the tensors of a checkpoint's folder, as far as they belong into those of ``target``."""
    shares = _shares(content)
    assert shares is not None
    tensors: dict[str, Tensor] = {}
    for place, key in shares.keys:
        tensors.setdefault(key, target(place, key))
    reader = FileSystemReader(path.parent / shares.folder)
    read_alone({key: tensor.detach() for key, tensor in tensors.items()}, reader)
    del content[_KEY]
    for place, key in shares.keys:
        _put(content, place, tensors[key])


def _shares(content: dict[str, Any]) -> _Shares | None:
    return _Shares(**content[_KEY]) if _KEY in content else None


def _tensors(node: object, place: Place = ()) -> Iterator[tuple[Place, Tensor]]:
    """The tensors in nested mappings and lists, and where they are."""
    if isinstance(node, Tensor):
        yield place, node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from _tensors(value, (*place, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _tensors(value, (*place, number))


def _spread(content: object) -> Iterator[tuple[Place, DTensor]]:
    return ((place, tensor) for place, tensor in _tensors(content) if isinstance(tensor, DTensor))


def _without_spread(node: Any) -> Any:
    """The same without spread tensors; mappings are new ones, since an optimiser's are its own."""
    if isinstance(node, dict):
        return {k: _without_spread(value) for k, value in node.items() if not isinstance(value, DTensor)}
    return [_without_spread(value) for value in node] if isinstance(node, list) else node


def _put(content: Any, place: Sequence[str | int], tensor: Tensor) -> None:
    for key in place[:-1]:
        content = content[key]
    content[place[-1]] = tensor


def _empty(known: Any) -> Tensor:
    assert isinstance(known, TensorStorageMetadata)
    return torch.empty(known.size, dtype=known.properties.dtype)


def _sums(folder: Path, ranks: Ranks) -> dict[str, str]:
    """Checksums of the files that this rank has written; of the first, also of the list of all."""
    if ranks.is_first:
        sync_folder(folder)
    mine = sorted(folder.glob(f"__{ranks.rank}_*")) + ([folder / ".metadata"] if ranks.is_first else [])
    return {file.name: digest_of(file) for file in mine}


def _of_disk(error: BaseException) -> BaseException:
    """The fault of the disk behind an error of a save, where it is one."""
    failures = (
        [fault for fault, _ in error.failures.values()] if isinstance(error, CheckpointException) else [error]
    )
    return next((fault for fault in failures if isinstance(fault, OSError)), RuntimeError(str(error)))
