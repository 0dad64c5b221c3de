"""The learner: one training step is one iteration, read from top to bottom."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from time import perf_counter
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.phases import phase_at
from orchestrator.storage.metrics_log import MetricsWriter
from orchestrator.training.batches import Batches
from orchestrator.training.device import fuses, precision_of
from orchestrator.training.entropy_control import EntropyControl, trace_metrics
from orchestrator.training.experience import Explorer, token_batch
from orchestrator.training.guardrails import Guardrails
from orchestrator.training.prompts import PromptBatch
from orchestrator.training.seeds import derive_seed
from orchestrator.training.update import TrainingDivergedError, Update, Updater
from policies.rollouts.base import Sampling
from policies.sharding import full, is_sharded, shard
from policies.statistics.batch import TokenBatch
from policies.statistics.response_statistics import View, token_values
from policies.statistics.sensors import measure
from policies.statistics.sequences import Sequences, pack


class Learner(pl.LightningModule):
    """rollout → reward → measure → loop → loss → step, with manual optimisation."""

    def __init__(
        self,
        *,
        config: RunConfig,
        seed: int,
        explorer: Explorer,
        batches: Batches,
        control: EntropyControl,
        guardrails: Guardrails,
        writer: MetricsWriter | None,
        num_redraws: int = 0,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.settings = config.learner
        self.rollout_settings = config.rollout
        self.phases = config.phases
        self.seed = seed
        self.model = explorer.policy.model  # registers the parameters
        self.policy = explorer.policy
        self.batches = batches
        self.control = control
        self.guardrails = guardrails
        self.num_redraws = num_redraws
        self.writer = writer  # None on a rank that does not write
        self.ranks = explorer.ranks
        self.updater = Updater(
            policy=self.policy,
            settings=config.learner,
            max_tokens=config.max_response_tokens,
            backward=self._backward,
            ranks=self.ranks,
        )
        self.iteration = 0  # iterations finished; in the checkpoint
        self.num_skipped_in_a_row = 0
        self.seconds: dict[str, float] = {}

    def on_train_start(self) -> None:
        for group in self.trainer.optimizers[0].param_groups:  # a checkpoint brings those of its run
            group |= {"betas": self.settings.betas, "weight_decay": self.settings.weight_decay}
            group["fused"] = True if fuses(group["params"]) else None  # by where it goes on
        self.batches.push(self.iteration)

    def training_step(self, _: PromptBatch, __: int) -> None:  # its problems may have been tried already
        start = perf_counter()
        torch.manual_seed(derive_seed(self.seed, "iteration", self.iteration))

        rollouts = self.batches.collect(self.iteration, self._sampling)
        with self._timed("measure"):
            sequences = pack(rollouts.prompts, rollouts.responses, self.policy.pad_id, rollouts.spoken)
            view = View(
                temperature=rollouts.temperature,
                masked_ids=self.policy.masked_ids,
                vocabulary=self.control.vocabulary,
            )
            batch, importance = token_batch(rollouts, sequences, self.policy, self.settings, view, self.ranks)
        with self._timed("control"):
            telemetry = {"learning_rate": self._learning_rate()} | measure(
                batch, vocabulary_size=self.policy.vocabulary_size, domains=rollouts.domains
            )
            # The first rank's readings count: another kind of device computes the last bit otherwise.
            telemetry = self.ranks.of_first(telemetry)
            traces = self.control.act(telemetry, self.iteration)
            self.control.follow(self.ranks.of_first(dict(self.control.commands)))
        with self._timed("update"):
            update = self._update(sequences, batch, view)
        if self.batches.ahead:
            with self._timed("wait"):
                self.batches.settle()
        with self._timed("push"):
            self.batches.push(self.iteration + 1)

        self.seconds |= rollouts.seconds | {"iteration": perf_counter() - start}
        metrics = (
            telemetry
            | trace_metrics(traces)
            | update.metrics()
            | rollouts.metrics(batch.logprobs, self.iteration)
            | ({"rollout/masked_ids": float(len(self.policy.masked_ids))} if self.policy.masked_ids else {})
            | importance
            | {f"seconds/{phase}": seconds for phase, seconds in self.seconds.items()}
        )
        metrics = self.ranks.of_first(metrics)  # so that all ranks stop or go back, or none
        metrics |= self.guardrails.watch(self.iteration, metrics)
        if self.writer is not None:
            self.writer.append(self.iteration, metrics)
        self.iteration += 1

    def _sampling(self, iteration: int) -> Sampling:
        """How the batch of an iteration is sampled if it is begun now."""
        # After a rollback that could change nothing else, other responses.
        again = ("again", self.num_redraws) if self.num_redraws else ()
        return Sampling(
            temperature=self.control.actuation.temperature(self.rollout_settings.temperature),
            max_tokens=self.rollout_settings.max_tokens,
            seed=derive_seed(self.seed, "rollout", iteration, *again),
        )

    def _update(self, sequences: Sequences, batch: TokenBatch, view: View) -> Update:
        update = Update(seed=derive_seed(self.seed, "update", self.iteration))
        actuation = self.control.actuation
        batch = self.updater.shape(sequences, batch, actuation, view)
        for rows in self.updater.minibatches(batch.group.cpu(), update.seed):
            loss = self.updater.accumulate(update, rows, sequences, batch, actuation, view)
            self._step(update, loss)
        update.join(self.ranks)
        return update

    def _backward(self, loss: Tensor, last: bool) -> None:
        """Ranks average their gradients, and theirs are parts of a sum; they meet once a step, at the last."""
        apart = getattr(self.trainer.strategy, "block_backward_sync", nullcontext)
        with nullcontext() if last else apart():
            self.manual_backward(loss * self.ranks.size)

    def _step(self, update: Update, loss: float) -> None:
        """One optimiser step, unless the loss or its gradient is not finite."""
        optimizer = self.optimizers()
        assert isinstance(optimizer, pl.core.optimizer.LightningOptimizer)
        for group in optimizer.param_groups:
            group["lr"] = self._learning_rate()
        norms = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm)
        norm = full(norms).item()
        update.gradient_norms.append(norm)
        if math.isfinite(loss) and math.isfinite(norm):
            optimizer.step()
            self.num_skipped_in_a_row = 0
        else:
            update.num_skipped += 1
            self.num_skipped_in_a_row += 1
        optimizer.zero_grad()
        if self.num_skipped_in_a_row >= self.settings.max_skipped_steps:
            raise TrainingDivergedError(
                f"the loss or its gradient was not finite for {self.num_skipped_in_a_row} optimiser steps in a row, "
                f"up to iteration {self.iteration}; lower learner.learning_rate or the limits of a loop"
            )

    def _learning_rate(self) -> float:
        """Linear warm-up by iteration, then constant, times the factor of the phase [per optimiser step]."""
        warmup = self.settings.warmup_iterations
        share = min(1.0, (self.iteration + 1) / warmup) if warmup else 1.0
        phase = phase_at(self.phases, self.iteration)
        return self.settings.learning_rate * share * (phase.learning_rate_factor if phase else 1.0)

    def configure_model(self) -> None:
        if self.device_mesh is not None and not is_sharded(self.model):
            shard(
                self.model,
                self.device_mesh["data_parallel"],
                half=precision_of(self.settings) != "32-true",
                run=token_values,
            )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        trained = [p for p in self.model.parameters() if p.requires_grad]
        return torch.optim.AdamW(
            trained,
            fused=True if fuses(trained) else None,
            lr=self.settings.learning_rate,
            betas=self.settings.betas,
            weight_decay=self.settings.weight_decay,
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name in self._frozen():
            del checkpoint["state_dict"][name]
        checkpoint["learner"] = {
            "iteration": self.iteration,
            "num_skipped_in_a_row": self.num_skipped_in_a_row,
            "batches": self.batches.state_dict(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if frozen := self._frozen():
            checkpoint["state_dict"] |= frozen
        self.iteration = checkpoint["learner"]["iteration"]
        self.num_skipped_in_a_row = checkpoint["learner"]["num_skipped_in_a_row"]
        batches = checkpoint["learner"].get("batches", {})  # which checkpoints of earlier versions lack
        self.batches.load_state_dict(batches, self.iteration, self._sampling)

    def _frozen(self) -> dict[str, torch.Tensor]:
        """Weights that training leaves as they were loaded, by their names in a checkpoint, which lacks them."""
        parameters = self.named_parameters(remove_duplicate=False)
        return {name: weight.detach() for name, weight in parameters if not weight.requires_grad}

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        start = perf_counter()
        yield
        self.seconds[phase] = perf_counter() - start
