"""The time that an iteration's matrix products and its optimiser step take alone, beside that of the whole iteration.

The iteration is that of ``against_trl.py``: SmolLM2-135M in fp32, measured in the update, rows packed.  What it cannot do
without is timed in the same process, on this machine, with the model's own weights one after another:

- reading the prompts, each once: a product of every matrix with the prompts' tokens, and of the head with the last of each;
- a product of every matrix with one token a response, for each token of a response but the last, which nothing follows;
- three products of every matrix with all these tokens in the update (forward, and the gradients of what goes in and of the
  matrix), and of the head with those that a token of a response follows, siblings' first tokens following the same one;
- AdamW in one kernel.

Products are as fast as the library behind torch makes them in these shapes, so the sum is what is left if attention, norms,
activations, sampling, grading and all that runs in Python took no time, and nothing were computed twice.  The update of this
repository makes the responses' logits again in its backward pass; that fourth product of the head is not counted.  An iteration could
do without a little that is: in the last layer the tokens of a prompt before its last are needed for keys and values alone.

    python benchmarks/necessary_time.py [--quick] [--threads 2] [--trl SECONDS]
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.against_trl import OURS, SETTINGS, SOURCE, problems_of
from benchmarks.fixed_lengths import train
from policies.model.loading import load_pretrained

REPEATS = 3


@dataclass(frozen=True, slots=True)
class Part:
    """Something that an iteration does a number of times."""

    name: str
    times: int
    flop: float
    """What one time takes [floating-point operations]; 0 where it is no product."""
    work: Callable[[], object]

    def seconds(self) -> float:
        """Shortest of some tries of all its times, for others only lengthen it."""
        self.work()
        tries = []
        for _ in range(REPEATS):
            start = perf_counter()
            self.work()
            tries.append(perf_counter() - start)
        return self.times * min(tries)


def products(matrices: list[Tensor], num_tokens: int, kinds: str) -> tuple[float, Callable[[], object]]:
    """Operations [FLOP] and the work of products of every matrix [out, in] with so many tokens.

    Kinds are ``f`` forward, ``i`` the gradient of what goes in, and ``w`` that of the matrix.
    """
    shapes = {matrix.shape for matrix in matrices}
    given = {
        shape: (torch.randn(num_tokens, shape[1]), torch.randn(num_tokens, shape[0])) for shape in shapes
    }

    @torch.no_grad()
    def work() -> None:
        for matrix in matrices:
            x, y = given[matrix.shape]
            for kind in kinds:
                _ = x @ matrix.T if kind == "f" else y @ matrix if kind == "i" else y.T @ x

    return 2.0 * num_tokens * sum(matrix.numel() for matrix in matrices) * len(kinds), work


def parts(
    model: PreTrainedModel, prompt_tokens: int, num_prompts: int, group_size: int, length: int
) -> Iterator[Part]:
    """All that has to be done; ``length`` is the tokens of each response, ``prompt_tokens`` those of all prompts."""
    head = model.get_output_embeddings().weight.detach()
    blocks = [each.weight.detach() for each in model.get_decoder().modules() if isinstance(each, nn.Linear)]
    num_responses = num_prompts * group_size
    followed = num_responses * (length - 1)
    yield Part("rollout: prompts", 1, *products(blocks, prompt_tokens, "f"))
    yield Part("rollout: first tokens", 1, *products([head], num_prompts, "f"))
    yield Part("rollout: token by token", length - 1, *products([*blocks, head], num_responses, "f"))
    yield Part("update: layers", 1, *products(blocks, prompt_tokens + followed, "fiw"))
    yield Part("update: head", 1, *products([head], num_prompts + followed, "fiw"))
    weights = [torch.nn.Parameter(p.detach().clone()) for p in model.parameters()]
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    yield Part("update: AdamW", 1, 0.0, torch.optim.AdamW(weights, fused=True).step)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="shorter responses")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--trl", type=float, help="seconds of an iteration of TRL's, as against_trl.py prints them"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    setting = SETTINGS["short"]
    shape = setting.quick if arguments.quick else setting.full
    policy = load_pretrained(SOURCE)
    problems = problems_of(shape.num_prompts * 3, setting.preamble)
    prompt_tokens = sum(len(policy.encode(each["prompt"])) for each in problems[: shape.num_prompts])
    sum_seconds = 0.0
    for part in parts(
        policy.model, prompt_tokens, shape.num_prompts, shape.group_size, shape.response_tokens
    ):
        sum_seconds += (seconds := part.seconds())
        rate = f"{part.times * part.flop / 1e9:7.1f} GFLOP at {part.times * part.flop / seconds / 1e9:5.1f} a second"
        print(f"{part.name:26} {seconds:6.2f} s  {rate if part.flop else ''}".rstrip(), flush=True)
    print(f"{'sum':26} {sum_seconds:6.2f} s")
    with tempfile.TemporaryDirectory() as root:
        policy.save(model := Path(root) / "model")
        records = train(model, problems, shape, 3, "necessary", learner=OURS["the same, rows packed"])[1:]
    median = statistics.median(record["seconds/iteration"] for record in records)
    print(f"{'an iteration':26} {median:6.2f} s, {median / sum_seconds:.2f} times the sum")
    if arguments.trl:
        print(
            f"TRL's {arguments.trl:.2f} s are {arguments.trl / sum_seconds:.2f} times the sum; the goal of {setting.goal:g} "
            f"times as fast is {arguments.trl / setting.goal:.2f} s"
        )


if __name__ == "__main__":
    main()
