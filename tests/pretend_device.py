"""A device that is not there: it computes on the CPU, and refuses what a GPU refuses.

Tensors of different devices do not mix, a tensor of this one is no numpy array, and a CPU's random numbers are
not drawn for it.  As on a GPU a scalar of the CPU goes with anything, and so does an index.  Nothing can take the
device out of a process again, so ``python -m tests.pretend_device RUN_FOLDER...`` trains runs in one of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

NAME = "pretend"
FORCED = "forced"
"""An arm of this name is shown readings that are made up, see `forced_readings.always`."""
MAY_CROSS = ("aten.copy_.default", "aten._to_copy.default")
MAY_INDEX = (
    "aten.index.Tensor",
    "aten.index_put_.default",
    "aten._unsafe_index.Tensor",
    "aten.index_put.default",
)
MAKERS = (
    ("empty", "memory_format"),
    ("empty_strided", "default"),
    ("arange", "default"),
    ("arange", "start"),
    ("arange", "start_step"),
    ("randperm", "default"),
    ("linspace", "default"),
    ("eye", "default"),
)
"""Operations that make a tensor from numbers, by name and overload."""
seen: set[str] = set()
"""Names of the operations that the device has run."""


class Pretended(torch.Tensor):
    """A tensor of the device; ``raw`` is the one of the CPU behind it."""

    raw: torch.Tensor

    @staticmethod
    def __new__(cls, raw: torch.Tensor) -> Pretended:
        made: Pretended = torch.Tensor._make_wrapper_subclass(
            cls,
            raw.size(),
            strides=raw.stride(),
            storage_offset=raw.storage_offset(),
            dtype=raw.dtype,
            device=f"{NAME}:0",
        )
        made.raw = raw
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.raw.detach().requires_grad_(self.requires_grad).__reduce_ex__(protocol)

    def __repr__(self, **_: Any) -> str:
        return f"{NAME}:{self.raw!r}"

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(function, args, kwargs or {})


def compute(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation of the device on the CPU."""
    name = str(function)
    seen.add(name)
    if name == "aten._fused_sdp_choice.default":
        return 0  # plain mathematics
    leaves, shape = tree_flatten((args, kwargs))
    here = [leaf for leaf in leaves if isinstance(leaf, Pretended)]
    strangers = [
        leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and not isinstance(leaf, Pretended)
    ]
    if name in MAY_INDEX and isinstance(args[0], Pretended):
        strangers = [leaf for leaf in strangers if leaf.dtype not in (torch.int64, torch.bool)]
    if here and name not in MAY_CROSS and any(stranger.dim() for stranger in strangers):
        raise RuntimeError(
            f"{name}: expected all tensors to be on the same device, but found {NAME}:0 and cpu"
        )
    if any(isinstance(leaf, torch.Generator) for leaf in leaves):
        raise RuntimeError(f"{name}: expected a {NAME!r} device type for generator but found 'cpu'")
    device = kwargs.get("device", None if not here else torch.device(NAME))
    if name == "aten.copy_.default":
        device = args[0].device
    raw = tree_unflatten([_raw(leaf) for leaf in leaves], shape)
    result = function(*raw[0], **raw[1])
    if any(leaf.raw.size() != leaf.size() for leaf in here):
        raise NotImplementedError(f"{name} gives a tensor another size in place, which {NAME} cannot")
    if device is None or torch.device(device).type != NAME:
        return result
    known = {id(leaf.raw): leaf for leaf in here}  # an operation in place gives what it was given
    return tree_map_only(
        torch.Tensor, lambda raw: known[id(raw)] if id(raw) in known else Pretended(raw), result
    )


def _raw(leaf: Any) -> Any:
    if isinstance(leaf, Pretended):
        return leaf.raw
    return torch.device("cpu") if isinstance(leaf, torch.device) and leaf.type == NAME else leaf


def _make(function: Any, *args: Any, **kwargs: Any) -> Any:
    return compute(function, args, kwargs)


def _copy_from(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    _raw(target).copy_(_raw(source))
    return target


class _Module:
    """What torch asks of a device, as ``torch.cuda`` answers for one."""

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        pass

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


class PretendAccelerator(Accelerator):
    """What Lightning asks a device."""

    def setup_device(self, device: torch.device) -> None:
        pass

    def teardown(self) -> None:
        pass

    @staticmethod
    def parse_devices(devices: Any) -> Any:
        return devices

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [torch.device(NAME, 0)]

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def name() -> str:
        return NAME


def install() -> None:
    """Give torch the device, and Lightning as the one to train on."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(NAME, _Module())
    library = torch.library.Library("aten", "IMPL")
    for name, overload in MAKERS:
        function = getattr(getattr(torch.ops.aten, name), overload)
        make = partial(_make, function)
        library.impl(function.name().removeprefix("aten::"), make, "PrivateUse1")
    library.impl("_copy_from", _copy_from, "PrivateUse1")
    install.library = library  # type: ignore[attr-defined]  # it is undone with this object
    torch.__future__.set_swap_module_params_on_conversion(True)  # else tied weights come apart

    class Trainer(pl.Trainer):
        def __init__(self, **settings: Any) -> None:
            settings |= {
                "accelerator": PretendAccelerator(),
                "devices": 1,
                "strategy": SingleDeviceStrategy(device=torch.device(NAME, 0)),
            }
            super().__init__(**settings)

    pl.Trainer = Trainer  # type: ignore[misc]


def refuses() -> bool:
    """Whether it takes no tensor of the CPU, gives none by accident, and draws no random numbers of the CPU's."""
    mine, other = torch.ones(2, device=NAME), torch.ones(2)
    faults = (
        lambda: mine + other,
        lambda: torch.nn.functional.embedding(other.long(), mine[:, None]),
        lambda: other[mine.long()],
        lambda: mine.numpy(),
        lambda: torch.rand(2, device=NAME, generator=torch.Generator()),
    )
    num_refused = 0
    for fault in faults:
        try:
            fault()
        except (RuntimeError, TypeError):
            num_refused += 1
    return num_refused == len(faults) and (mine + other[0]).device == mine.device


def main(paths: Sequence[str]) -> int:
    """Train runs in their folders, on the device; the highest exit status."""
    install()
    assert refuses(), "a CPU in disguise finds no fault"
    from orchestrator.training.guardrails import Guardrails
    from orchestrator.training.run import main as work
    from tests.orchestrator.training.forced_readings import always, forced

    as_measured, as_forced, status = Guardrails.watch, forced(always), 0
    for path in paths:
        Guardrails.watch = as_forced if Path(path).parent.name == FORCED else as_measured  # type: ignore[method-assign]
        status = max(status, work(path))
    print(f"{len(seen)} operations ran on {NAME}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
