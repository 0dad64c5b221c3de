"""How the cost of an iteration grows with lengths, vocabulary, group size and ranks: seconds, and fitted exponents.

A small random Llama of two layers trains under a loop on its entropy bonus; along each axis one figure grows and the
others stay.  No response ends early.  An exponent is the slope of a line through the logarithms, by least squares:
0 costs nothing more, 1 grows as the figure does.  Ranks are processes of one thread each that share the same batch, so
on as many cores as ranks an exponent of -1 is perfect; there a response may end, as in any run.  What they gain is the
time of one over that of all, and their efficiency that gain over their number.

    python benchmarks/growth.py [--quick] [--threads 1]       # 3 minutes on two free cores
    python benchmarks/growth.py --axis ranks                  # one axis alone: response, prompt, vocabulary, group or ranks
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.fixed_lengths import PHASES, Shape, prepared, train  # noqa: E402
from benchmarks.own_process import trained  # noqa: E402
from policies.model.loading import LoadedPolicy  # noqa: E402
from policies.model.tiny import SPECIAL_TOKENS, TinyModel, character_tokenizer, tiny_model  # noqa: E402

SHOWN = ("rollout", "measure", "update", "control", "iteration")
ITERATIONS, WARM_UP = 5, 2
FIRST_CHARACTER = 0x4E00  # of the CJK ideographs, 20,000 letters in a row


SHAPE = Shape(num_prompts=4, group_size=8, response_tokens=64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What is measured: a shape, and what it is made with."""

    shape: Shape = SHAPE
    prompt_tokens: int = 32
    vocabulary: int = 1024
    ranks: int | None = None
    """In processes of their own; None is this one."""


BASE = Point()
AXES: dict[str, dict[int, Point]] = {
    "response [tokens]": {
        n: replace(BASE, shape=replace(SHAPE, response_tokens=n)) for n in (32, 64, 128, 256)
    },
    "prompt [tokens]": {n: replace(BASE, prompt_tokens=n) for n in (32, 64, 128, 256)},
    "vocabulary": {n: replace(BASE, vocabulary=n) for n in (1024, 4096, 16384)},
    "group size": {n: replace(BASE, shape=replace(SHAPE, group_size=n)) for n in (4, 8, 16, 32)},
    "ranks": {n: replace(BASE, ranks=n) for n in (1, 2)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the ends of each axis alone, and no ranks")
    names = [axis.split()[0] for axis in AXES]
    parser.add_argument("--axis", choices=names, help="this one alone")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    chosen = [arguments.axis] if arguments.axis else names[:-1] if arguments.quick else names
    torch.set_num_threads(arguments.threads)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    print(", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "lightning")))
    print(
        f"median seconds of {ITERATIONS - WARM_UP} iterations, {arguments.threads} threads\n{_row('', '', SHOWN)}"
    )
    for axis, points in AXES.items():
        if axis.split()[0] not in chosen:
            continue
        ends = (min(points), max(points))
        values = [n for n in points if not arguments.quick or n in ends]
        found = []
        for n in values:
            found.append(seconds_of(points[n], ITERATIONS))
            print(_row(axis, n, [f"{found[-1][name]:.4f}" for name in SHOWN]), flush=True)
        print(
            _row(
                "",
                "exponent",
                [f"{exponent(values, [each[name] for each in found]):.2f}" for name in SHOWN],
            )
        )
        if axis == "ranks":
            gains = [found[0][name] / found[-1][name] for name in SHOWN]
            print(_row("", "gain", [f"{gain:.2f}" for gain in gains]))
            print(_row("", "efficiency", [f"{gain * values[0] / values[-1]:.0%}" for gain in gains]))
        else:
            shares = [f"{each['control'] / each['iteration']:.2%}" for each in (found[0], found[-1])]
            print(f"{'':18} control takes {shares[0]} of the first and {shares[1]} of the last")


def seconds_of(point: Point, iterations: int) -> dict[str, float]:
    """Median seconds of each phase of an iteration, the first ones left out where there are more."""
    with tempfile.TemporaryDirectory() as root:
        model = Path(root) / "model"
        policy = _policy(point)
        policy.save(model)
        problems = _problems(point, point.shape.num_prompts * iterations)
        if point.ranks is None:
            records = train(model, problems, point.shape, iterations, "run")
        else:
            records = _apart(model, problems, point, iterations)
    counted = records[min(WARM_UP, iterations - 1) :]
    return {
        name: statistics.median(record[f"seconds/{name}"] for record in counted)
        for name in (*PHASES, "iteration")
    }


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The b of the law seconds = a · size^b that fits best in logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def _policy(point: Point) -> LoadedPolicy:
    context = point.prompt_tokens + point.shape.response_tokens + 1
    tokenizer = character_tokenizer("".join(_letters(point)), context)
    return LoadedPolicy(tiny_model(TinyModel(max_tokens=context), tokenizer, seed=0).eval(), tokenizer)


def _letters(point: Point) -> list[str]:
    return [chr(FIRST_CHARACTER + n) for n in range(point.vocabulary - len(SPECIAL_TOKENS))]


def _problems(point: Point, number: int) -> list[dict[str, str]]:
    drawn = np.random.default_rng(0).choice(_letters(point), (number, point.prompt_tokens))
    return [{"prompt": "".join(prompt), "answer": "1"} for prompt in drawn]


def _apart(
    model: Path, problems: Sequence[dict[str, str]], point: Point, iterations: int
) -> list[dict[str, float]]:
    """Records of a run in processes of their own, as many as there are ranks."""
    run, _ = prepared(model, problems, point.shape, iterations, "run", ranks=point.ranks or 1)
    return trained(run)


def _row(axis: str, n: object, cells: Sequence[str]) -> str:
    return f"{axis:18}{n:>10}" + "".join(f"{cell:>11}" for cell in cells)


if __name__ == "__main__":
    main()
