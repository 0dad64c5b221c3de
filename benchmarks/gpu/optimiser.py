"""AdamW: the weights that move under each precision, and the time and memory of a step of 1.5B."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.models import QWEN_1B5, TINY, random_model

LEARNING_RATE, NUM_STEPS = 1e-6, 50
STEP_LIMIT_SECONDS = 15e-3


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser that the learner makes for a model."""
    from orchestrator.configuration.learner import LearnerConfig
    from orchestrator.training.learner import Learner

    settings = LearnerConfig(iterations=1, learning_rate=LEARNING_RATE)
    return Learner.configure_optimizers(SimpleNamespace(model=model, settings=settings))  # type: ignore[arg-type]


def weights_that_move(bench: Bench) -> None:
    """Train weights of usual size by random gradients, in float32 and in bfloat16."""
    moved = {dtype: _share_moved(bench, dtype) for dtype in (torch.float32, torch.bfloat16)}
    bench.at_least("float32 (32-true, bf16-mixed), share", moved[torch.float32], 0.99)
    bench.say("bfloat16 (bf16-true), share", moved[torch.bfloat16])
    from orchestrator.configuration.learner import LearnerConfig

    try:
        LearnerConfig(iterations=1, precision="bf16-true")  # type: ignore[arg-type]
    except ValueError as error:
        refused = "bf16-true" in str(error)
    else:
        refused = False
    bench.require("bf16-true", refused, "refused" if refused else "taken, and hardly trains")


def _share_moved(bench: Bench, dtype: torch.dtype) -> float:
    torch.manual_seed(0)
    model = nn.Linear(*bench.size((4096, 4096), (64, 64)), bias=False, device=bench.device, dtype=dtype)
    nn.init.normal_(model.weight, std=0.02)
    before, optimizer = model.weight.detach().clone(), adamw(model)
    for _ in range(NUM_STEPS):
        model.weight.grad = torch.randn_like(model.weight)
        optimizer.step()
    return (model.weight.detach() != before).float().mean().item()


def step_of_adamw(bench: Bench) -> None:
    """Time steps with the moments in place, and look for memory beside them."""
    model = random_model(bench, bench.size(QWEN_1B5, TINY))
    optimizer = adamw(model)
    for weight in model.parameters():
        weight.grad = torch.full_like(weight, 1e-3)
    optimizer.step()
    if bench.is_gpu:
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
    seconds = bench.seconds(optimizer.step)
    bench.at_most("seconds of a step", seconds, STEP_LIMIT_SECONDS, on="h200")
    if bench.is_gpu:
        more = torch.cuda.max_memory_allocated() - held
        of_weights = sum(weight.nbytes for weight in model.parameters())
        bench.at_most("memory of a step, of the weights", more / of_weights, 0.01, on="gpu")
