"""One run, in a process of its own: ``python -m orchestrator.run RUN_FOLDER [--with-parent]``.

It reads ``run.json``, continues from ``checkpoints/last.ckpt`` where there is one, and writes nothing
outside its folder.  How it ended is in ``status.json``; the exit status says the same to a scheduler.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
import traceback
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import SIGTERMException

from orchestrator.checkpoints import Checkpointer
from orchestrator.config import PolicyConfig, RunConfig
from orchestrator.entropy_control import EntropyControl
from orchestrator.evaluation import Examiner
from orchestrator.learner import Learner
from orchestrator.metrics_log import MetricsWriter
from orchestrator.prompts import PromptLoader
from orchestrator.run_folder import RunFolder, RunInfo, Status
from orchestrator.seeds import derive_seed
from policies.loading import BUILTIN, LoadedPolicy, built_in, load_pretrained
from policies.rollouts.base import RolloutEngine
from policies.rollouts.transformers_engine import TransformersEngine
from tasks import Task
from tasks.grading import GradingPool
from tasks.splits import held_out_set

EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 143
LOCK_WAIT_SECONDS = 60.0

log = logging.getLogger(__name__)


def main(path: str) -> int:
    """Work on one run until it is done, fails or is told to stop; give the exit status."""
    folder = RunFolder(Path(path))
    with folder.lock(wait_seconds=LOCK_WAIT_SECONDS):
        info = folder.read_info()
        status = Status(
            status="running",
            num_iterations=info.config["learner"]["iterations"],
            iteration=folder.read_status().iteration,
            pid=os.getpid(),
        )
        folder.write_status(status)
        try:
            train(folder, info)
        except (SIGTERMException, KeyboardInterrupt):
            folder.write_status(
                replace(status, status="interrupted", reason="told to stop; checkpoint saved")
            )
            return EXIT_INTERRUPTED
        except Exception as error:
            traceback.print_exc()
            reason = f"{type(error).__name__}: {error}"
            folder.write_status(replace(status, status="failed", reason=reason))
            return EXIT_FAILED
        folder.write_status(replace(status, status="done", iteration=status.num_iterations))
        return EXIT_DONE


def train(folder: RunFolder, info: RunInfo) -> None:
    """Build everything that ``run.json`` names and train from the last checkpoint to the end."""
    config = RunConfig(**info.config)
    settings = config.learner
    execution = info.execution
    resuming = folder.checkpoint_path.exists()
    folder.truncate(_checkpointed_iteration(folder) if resuming else -1)

    policy = load_policy(config.policy, config.task)
    engine = make_engine(policy, config)
    loader = PromptLoader(
        config.task,
        seed=derive_seed(info.seed, "prompts"),
        prompts_per_iteration=settings.prompts_per_iteration,
        num_iterations=settings.iterations,
    )
    exam = held_out_set(config.task, config.evaluation.num_problems)
    with (
        GradingPool(
            config.task,
            num_workers=execution["graders"],
            timeout_seconds=execution["grading_timeout_seconds"],
        ) as graders,
        MetricsWriter(folder.metrics_path) as writer,
    ):
        control = EntropyControl(config.loops)
        learner = Learner(
            config=config,
            seed=info.seed,
            policy=policy,
            engine=engine,
            graders=graders,
            control=control,
            writer=writer,
        )
        examiner = Examiner(
            problems=exam,
            settings=config.evaluation,
            rollout=config.rollout,
            num_iterations=settings.iterations,
            seed=info.seed,
            policy=policy,
            engine=engine,
            graders=graders,
            writer=writer,
        )
        checkpointer = Checkpointer(
            folder.checkpoint_path, every=settings.checkpoint_every, num_iterations=settings.iterations
        )
        trainer = pl.Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices,
            num_nodes=settings.num_nodes,
            strategy=settings.strategy,
            precision=settings.precision,
            max_epochs=1,
            callbacks=[control, examiner, checkpointer],
            default_root_dir=folder.path,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        trainer.fit(
            learner,
            train_dataloaders=loader,
            ckpt_path=folder.checkpoint_path if resuming else None,
            weights_only=True if resuming else None,
        )
    policy.save(folder.policy_path)


def load_policy(settings: PolicyConfig, task: Task) -> LoadedPolicy:
    """The policy that a run starts from."""
    if settings.source != BUILTIN:
        return load_pretrained(settings.source, trust_remote_code=settings.trust_remote_code)
    demonstrations = partial(_demonstrations, task, settings)
    return built_in(settings.architecture, settings.warm_start, task.alphabet(), demonstrations)


def make_engine(policy: LoadedPolicy, config: RunConfig) -> RolloutEngine:
    """The rollout engine that a run names."""
    return TransformersEngine(
        policy.model,
        pad_id=policy.pad_id,
        eos_id=policy.eos_id,
        max_batch_size=config.rollout.max_batch_size,
    )


def _demonstrations(task: Task, settings: PolicyConfig, batch: int) -> list[tuple[str, str]]:
    """The n-th batch of imperfect demonstrations: problems that no run trains on in the same order."""
    start = settings.warm_start
    seed = derive_seed(start.seed, "demonstrations")
    pairs = []
    for index in range(batch * start.batch_size, (batch + 1) * start.batch_size):
        problem = task.problem("train", seed, index)
        rng = random.Random(derive_seed(seed, index))
        pairs.append((problem.prompt, task.demonstrate(problem, rng, start.error_rate)))
    return pairs


def _checkpointed_iteration(folder: RunFolder) -> int:
    import torch

    checkpoint: dict[str, Any] = torch.load(folder.checkpoint_path, weights_only=True, map_location="cpu")
    return int(checkpoint["learner"]["iteration"])


def _stop_with_parent() -> None:
    """End this process like a SIGTERM does when whoever holds the other end of stdin is gone."""
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    if "--with-parent" in sys.argv[2:]:
        threading.Thread(target=_stop_with_parent, daemon=True).start()
    sys.exit(main(sys.argv[1]))
