"""Peak memory and time of chunked token statistics, as ratios to the dense path.

Both compute the log-probability of the sampled token and the full entropy, and their gradients to hidden
states and head.  Each measurement is a fresh process: memory is the growth of its ``ru_maxrss`` over one
forward and backward, time the fastest of its repeats.  Processes alternate between the two paths.

    python benchmarks/token_statistics.py [--quick] [--threads 1]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from policies.statistics.token_statistics import token_statistics

Statistics = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]

CASES = {"large": (8192, 32_000, 256), "smollm2": (2048, 49_152, 576), "small": (8192, 20, 64)}
QUICK_CASES = {"large": (1024, 32_000, 256), "smollm2": (512, 49_152, 576), "small": (8192, 20, 64)}
MEMORY_GOAL, TIME_GOAL = 0.25, 1.3


def dense(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The straightforward path: autograd through one log_softmax of all logits."""
    logprobs = torch.log_softmax((hidden @ weight.T).float(), dim=-1)
    entropy = -(logprobs.exp() * logprobs).sum(dim=-1)
    return logprobs.gather(-1, targets[:, None])[:, 0], entropy


PATHS: dict[str, Statistics] = {"dense": dense, "chunked": token_statistics}


def measure(statistics: Statistics, shape: tuple[int, int, int], repeats: int) -> dict[str, float]:
    """Growth of the process's peak memory [bytes] and time [seconds] of forward and backward."""
    T, V, D = shape
    torch.manual_seed(0)
    hidden = torch.randn(T, D, requires_grad=True)
    weight = (torch.randn(V, D) / D**0.5).requires_grad_()
    targets = torch.randint(V, (T,))
    upstream = torch.randn(2, T)

    def step() -> None:
        logprobs, entropy = statistics(hidden, weight, targets)
        (logprobs * upstream[0] + entropy * upstream[1]).sum().backward()
        hidden.grad = weight.grad = None

    statistics(hidden[:8], weight, targets[:8])[0].sum().backward()  # libraries load on first use
    before = _peak_bytes()
    step()
    peak = _peak_bytes() - before
    seconds: list[float] = []
    while len(seconds) < repeats or sum(seconds) < 1.0:
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return {"peak_bytes": peak, "seconds": min(seconds)}


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    cases = QUICK_CASES if arguments.quick else CASES
    if arguments.child:
        path, case = arguments.child
        print(json.dumps(measure(PATHS[path], cases[case], arguments.repeats)))
        return
    print(f"torch {torch.__version__}, {arguments.threads} threads")
    print(f"{'':24}{'peak memory [MiB]':^27}   {'time [s]':^27}")
    print(f"{'T x V x D':24}" + f"{'dense':>9}{'chunked':>9}{'ratio':>9}   " * 2)
    for case, shape in ((case, cases[case]) for case in arguments.only):
        results: dict[str, list[dict[str, float]]] = {path: [] for path in PATHS}
        for _ in range(arguments.rounds):
            for path, measured in results.items():
                measured.append(_in_child(path, case))
        mebibytes = [max(r["peak_bytes"] for r in results[path]) / 2**20 for path in PATHS]
        seconds = [min(r["seconds"] for r in results[path]) for path in PATHS]
        print(f"{' x '.join(map(str, shape)):24}{_row(*mebibytes, digits=1)}   {_row(*seconds, digits=4)}")
    print(f"goal at the large case: memory at most {MEMORY_GOAL}, time at most {TIME_GOAL}")


def _in_child(path: str, case: str) -> dict[str, float]:
    command = [sys.executable, __file__, *sys.argv[1:], "--child", path, case]
    result: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return result


def _row(dense: float, chunked: float, digits: int) -> str:
    return f"{dense:9.{digits}f}{chunked:9.{digits}f}{chunked / dense:9.3f}"


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer tokens in the large cases")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2, help="least timed steps of a process")
    parser.add_argument("--rounds", type=int, default=2, help="processes of each path")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), help="cases to measure")
    parser.add_argument("--child", nargs=2, metavar=("PATH", "CASE"), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
