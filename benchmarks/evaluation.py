"""Processor time of the responses of an evaluation: greedy ones beside sampled ones, against a pass for each.

The tiny policy of configs/holding.yaml, as its warm start leaves it, answers held-out problems of its task.  The ways
take turns, and the median of each counts; they have to give the same tokens.  A row is as many problems and samples
of each as some configuration in configs/ evaluates with.

    python benchmarks/evaluation.py [--quick] [--threads 1]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from orchestrator.configuration.resolve import read_campaign  # noqa: E402
from orchestrator.training.start import load_policy  # noqa: E402
from policies.rollouts.base import Completion, Sampling  # noqa: E402
from policies.rollouts.open_in_process import open_in_process  # noqa: E402
from policies.rollouts.settings import Transformers  # noqa: E402
from tasks.splits import held_out_set  # noqa: E402

SIZES = ((16, 4), (32, 4), (64, 8), (128, 8), (256, 16))
QUICK = ((16, 4),)
Groups = Sequence[Sequence[Completion]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="the smallest evaluation alone, a short warm start"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    short = ["policy.warm_start.num_steps=30"] if arguments.quick else []
    config = read_campaign(ROOT / "configs" / "holding.yaml", short).arms[0].config
    policy, rollout = load_policy(config), config.rollout
    engine = open_in_process(Transformers(), policy, max_batch_size=rollout.max_batch_size)
    sampling = Sampling(temperature=rollout.temperature, max_tokens=rollout.max_tokens, seed=0)

    print(", ".join(f"{name} {version(name)}" for name in ("torch", "transformers")))
    print(f"batches of at most {rollout.max_batch_size} responses, {arguments.rounds} rounds")
    print(f"{'problems':>8}{'samples':>9}{'apart [s]':>11}{'together [s]':>14}{'ratio':>7}")
    for problems, samples in QUICK if arguments.quick else SIZES:
        asked = [policy.encode(each.prompt) for each in held_out_set(config.task, problems)]

        def apart(prompts: Sequence[torch.Tensor] = asked, samples: int = samples) -> Groups:
            greedy = engine.generate(prompts, 1, replace(sampling, temperature=0.0))
            sampled = engine.generate(prompts, samples, sampling)
            return [one + others for one, others in zip(greedy, sampled, strict=True)]

        def together(prompts: Sequence[torch.Tensor] = asked, samples: int = samples) -> Groups:
            return engine.generate(prompts, 1 + samples, replace(sampling, greedy_first=True))

        assert _tokens(apart()) == _tokens(together()), "the two ways give other responses"
        seconds = [[_seconds(way) for way in (apart, together)] for _ in range(arguments.rounds)]
        one, other = (statistics.median(each) for each in zip(*seconds, strict=True))
        print(f"{problems:>8}{samples:>9}{one:>11.3f}{other:>14.3f}{one / other:>7.2f}", flush=True)


def _seconds(way: Callable[[], Groups]) -> float:
    start = time.process_time()
    way()
    return time.process_time() - start


def _tokens(groups: Groups) -> list[list[list[int]]]:
    return [[completion.tokens.tolist() for completion in group] for group in groups]


if __name__ == "__main__":
    main()
