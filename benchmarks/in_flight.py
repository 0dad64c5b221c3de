"""What prompts in flight save and cost, counted in tokens: no clock, no policy, no device.

Lengths of responses are drawn log-normal, as those of reasoning are, and cut at the limit.  A batch takes as many steps
of decoding as an engine makes that samples all responses side by side, so each round takes its tokens.  Not counted
is what is read again in each round.

    python benchmarks/in_flight.py [--quick]
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from orchestrator.training.experience import Explorer
from orchestrator.training.prompts import PromptLoader
from orchestrator.training.prompts_in_flight import PromptsInFlight
from policies.rollouts.base import Completion, RolloutEngine, Sampling
from policies.rollouts.episodes import EpisodeLimits
from policies.rollouts.in_flight import InFlight
from tasks.grading.batch import Grades
from tasks.kinds.arithmetic import Arithmetic

P, G = 32, 8
LIMIT = 8192
MEDIAN, SPREAD = 1500, 0.7  # of the log-normal; and how much of it the prompt decides
OF_PROMPT = 0.7
MAX_WAIT = 8
SETTINGS = [(prompts, tokens) for tokens in (512, 1024, 2048) for prompts in (40, 48, 64)]


def length(number: int) -> int:
    """Tokens of a response, by its number in the run: as long as its prompt asks for, and by chance."""
    prompt, own = random.Random(number // G).gauss(0, 1), random.Random(~number).gauss(0, 1)
    deviation = math.sqrt(OF_PROMPT) * prompt + math.sqrt(1 - OF_PROMPT) * own
    return min(LIMIT, max(1, round(MEDIAN * math.exp(SPREAD * deviation))))


class Lengths(RolloutEngine):
    """Responses of which only the length is looked at."""

    def __init__(self) -> None:
        self.version = 0

    def generate(self, prompts: list[Tensor], num_samples: int, sampling: Sampling) -> list[list[Completion]]:
        return [
            [self._segment(sampling.number(i), len(prompt) - 1, sampling.max_tokens)]
            for i, prompt in enumerate(prompts)
        ]

    def _segment(self, number: int, start: int, most: int) -> Completion:
        whole = length(number)
        tokens = torch.zeros(min(whole - start, most), dtype=torch.int64)
        return Completion(
            tokens=tokens,
            logprobs=torch.zeros(len(tokens)),
            finished=start + len(tokens) == whole < LIMIT,
            versions=torch.full_like(tokens, self.version),
        )


class Nothing:
    """As much of a policy and of graders as is asked here."""

    def encode(self, prompt: str, system: str = "") -> Tensor:
        return torch.zeros(1, dtype=torch.int64)

    def decode(self, responses: list[Tensor]) -> list[str]:
        return [""] * len(responses)

    def grade(self, problems: list[object], texts: list[str]) -> Grades:
        return Grades(scores=[0.0] * len(texts))


def row(name: str, steps: list[int], lengths: list[float], staleness: float, used: float) -> None:
    print(f"{name:32}{fmean(steps):10.0f}{fmean(lengths):14.0f}{staleness:12.2f}{used:10.2f}")


def run(settings: InFlight, batches: int) -> None:
    """Make batches, and print the mean of all but the first few, in which there are no long ones yet."""
    engine, nothing = Lengths(), Nothing()
    explorer = Explorer(
        task=Arithmetic(),
        policy=nothing,  # type: ignore[arg-type]
        engine=engine,
        limits=EpisodeLimits(),
        graders=nothing,  # type: ignore[arg-type]
    )
    prompts = PromptLoader(lambda _: explorer.task, seed=0, prompts_per_iteration=P, num_iterations=batches)
    flight = PromptsInFlight(explorer, prompts, settings, group_size=G, max_wait=MAX_WAIT)
    steps, lengths, ages, used = [], [], [], []
    for t in range(batches):
        engine.version = t
        share = flight.collect(t, Sampling(temperature=1.0, max_tokens=LIMIT, seed=t))
        if t < MAX_WAIT:
            continue
        assert share.cut is not None
        steps.append(share.cut.num_rounds * settings.round_tokens)
        lengths += [float(len(response.tokens)) for response in share.completions]
        ages += [t - float(r.versions.double().mean()) for r in share.completions if r.versions is not None]
        tokens = sum(len(response.tokens) for response in share.completions)
        lost = share.cut.left_out_length * G * (settings.prompts - P)
        used.append(1.0 if settings.unfinished == "go_on" else tokens / (tokens + lost))
    name = f"{settings.unfinished}, {settings.prompts} prompts, {settings.round_tokens}"
    row(name, steps, lengths, fmean(ages), fmean(used))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="Fewer batches.")
    batches = MAX_WAIT + (8 if parser.parse_args().quick else 60)
    print(
        f"batches of {P} prompts with {G} responses, lengths log-normal (median {MEDIAN}, sigma {SPREAD}), limit {LIMIT}"
    )
    print(f"{'':32}{'steps':>10}{'mean length':>14}{'staleness':>12}{'used':>10}")
    drawn = [[length(n) for n in range(t * P * G, (t + 1) * P * G)] for t in range(MAX_WAIT, batches)]
    row("all of a batch", [max(each) for each in drawn], [n for each in drawn for n in each], 0.0, 1.0)
    for unfinished in ("go_on", "dropped"):
        for prompts, tokens in SETTINGS:
            run(InFlight(prompts=prompts, round_tokens=tokens, unfinished=unfinished), batches)


if __name__ == "__main__":
    main()
