"""What a check is given: a device, the sizes that go with it, and where it reports its findings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import torch

Place = Literal["anywhere", "gpu", "h200"]
Size = TypeVar("Size")


class LacksError(Exception):
    """This machine has not what a check needs, which the message names."""


@dataclass(frozen=True)
class Finding:
    """One number or sentence of a check; ``passes`` is None where it is not judged."""

    what: str
    value: float | str
    limit: str = ""
    passes: bool | None = None

    def __str__(self) -> str:
        mark = {True: "ok", False: "FAILED", None: "--"}[self.passes]
        value = self.value if isinstance(self.value, str) else f"{self.value:.4g}"
        return f"     {mark:7}{self.what}: {value}{f'  ({self.limit})' if self.limit else ''}"


@dataclass
class Bench:
    """The device, and the findings so far of one check."""

    device: torch.device
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_gpu(self) -> bool:
        """Whether sizes are those of the table, and not tiny."""
        return self.device.type == "cuda"

    def size(self, full: Size, tiny: Size) -> Size:
        """The one on a GPU, the other on a CPU."""
        return full if self.is_gpu else tiny

    def at_most(self, what: str, value: float, limit: float, *, on: Place = "anywhere") -> None:
        """Report a number that must not be larger; ``on`` says where the limit means something."""
        self._judge(what, value, value <= limit, f"at most {limit:g}", on)

    def at_least(self, what: str, value: float, limit: float, *, on: Place = "anywhere") -> None:
        """Report a number that must not be smaller."""
        self._judge(what, value, value >= limit, f"at least {limit:g}", on)

    def require(self, what: str, holds: bool, value: str, *, on: Place = "anywhere") -> None:
        """Report what has to hold, with a sentence about it."""
        self._judge(what, value, holds, "", on)

    def say(self, what: str, value: float | str) -> None:
        """Report what is not judged."""
        self.findings.append(Finding(what, value))

    def seconds(self, function: Callable[[], object], repeats: int = 3) -> float:
        """The shortest time of some calls, after one that is not counted."""
        times = []
        for number in range(repeats + 1 if self.is_gpu else 1):
            self.wait()
            start = time.perf_counter()
            function()
            self.wait()
            times.append(time.perf_counter() - start)
            if number and sum(times) > 10.0:
                break
        return min(times[1:] or times)

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def autocast(self) -> torch.autocast:
        """What the learner computes in: bfloat16 on a GPU, as `learner.precision: auto` has it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_gpu)

    def _judge(self, what: str, value: float | str, holds: bool, limit: str, on: Place) -> None:
        judged = on == "anywhere" or (self.is_gpu and (on == "gpu" or self._is_h200))
        where = {"anywhere": "", "gpu": "on a GPU", "h200": "on an H200"}[on]
        self.findings.append(
            Finding(what, value, f"{limit} {where}".strip(), bool(holds) if judged else None)
        )

    @property
    def _is_h200(self) -> bool:
        return "H200" in torch.cuda.get_device_name(self.device)
