"""The learner: one training step is one iteration, read from top to bottom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from time import perf_counter
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from controllers.base import Trace
from orchestrator.configuration.models import RunConfig
from orchestrator.storage.metrics_log import MetricsWriter
from orchestrator.training.batches import Batches
from orchestrator.training.device import fuses
from orchestrator.training.entropy_control import EntropyControl, trace_metrics
from orchestrator.training.experience import Explorer, token_batch
from orchestrator.training.guardrails import Guardrails
from orchestrator.training.learning_rate import LearningRate
from orchestrator.training.phase_meter import Phase, PhaseMeter
from orchestrator.training.samples import SampleKeeper
from orchestrator.training.seeds import derive_seed
from orchestrator.training.teaching import Teaching
from orchestrator.training.update import TrainingDivergedError, Update, Updater
from policies.model.reference import ReferencePolicy
from policies.rollouts.base import Sampling
from policies.sharding import full
from policies.statistics.batch import TokenBatch
from policies.statistics.response_statistics import View
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
        reference: ReferencePolicy | None = None,
        samples: SampleKeeper | None = None,
        num_redraws: int = 0,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.settings = config.learner
        self.rollout_settings = config.rollout
        self.learning_rate = LearningRate(config.learner, config.phases)
        self.seed = seed
        self.model = explorer.policy.model  # registers the parameters
        self.policy = explorer.policy
        self.batches = batches
        self.control = control
        self.guardrails = guardrails
        self.reference = reference  # no module: nothing of it is trained, saved or averaged over ranks
        self.num_redraws = num_redraws
        self.writer = writer  # None on a rank that does not write
        self.samples = samples  # likewise
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
        self.meter = PhaseMeter()

    def on_train_start(self) -> None:
        for group in self.trainer.optimizers[0].param_groups:  # a checkpoint brings those of its run
            group |= {"betas": self.settings.betas, "weight_decay": self.settings.weight_decay}
            group["fused"] = True if fuses(group["params"]) else None  # by where it goes on
        if self.reference is not None:
            self.reference.to(self.device)
        self.batches.push(self.iteration)

    def training_step(self, _: int, __: int) -> None:
        start = perf_counter()
        torch.manual_seed(derive_seed(self.seed, "iteration", self.iteration))

        with self._phase("rollout"):
            rollouts = self.batches.collect(self.iteration, self._sampling)
        with self._phase("measure"):
            sequences = pack(rollouts.prompts, rollouts.responses, self.policy.pad_id, rollouts.spoken)
            view = View(
                temperature=rollouts.temperature,
                masked_ids=self.policy.masked_ids,
                vocabulary=self.control.vocabulary,
            )
            teaching = Teaching.of(rollouts, self.settings, self.updater.max_tokens)
            batch, importance = token_batch(
                rollouts,
                sequences,
                self.policy,
                self.settings,
                view,
                self.ranks,
                rewards=teaching.rewards,
                reference=self.reference,
            )
        if self.settings.measure == "before_update":
            telemetry, traces = self._control(batch, rollouts.domains)
        with self._phase("update"):
            update = self._update(sequences, batch, view, teaching)
        if self.settings.measure == "in_update":  # the new commands are for the next update
            batch = update.measured(batch)
            telemetry, traces = self._control(batch, rollouts.domains, update.read)
        if self.batches.ahead:
            with self._phase("wait"):
                self.batches.settle()
        with self._phase("push"):
            self.batches.push(self.iteration + 1)

        self.meter.seconds |= rollouts.seconds | {"iteration": perf_counter() - start}
        metrics = (
            telemetry
            | trace_metrics(traces)
            | update.metrics()
            | rollouts.metrics(batch, self.iteration, update.read)
            | ({"rollout/masked_ids": float(len(self.policy.masked_ids))} if self.policy.masked_ids else {})
            | importance
            | teaching.metrics
            | self.meter.metrics(self.model, sequences, teaching.kept, self.settings.epochs, self.ranks.size)
        )
        metrics = self.ranks.of_first(metrics)  # so that all ranks stop or go back, or none
        metrics |= self.guardrails.watch(self.iteration, metrics)
        if self.writer is not None:
            self.writer.append(self.iteration, metrics)
        if self.samples is not None:
            self.samples.keep(self.iteration, rollouts, batch)
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

    def _control(
        self, batch: TokenBatch, domains: Sequence[str], read: Tensor | None = None
    ) -> tuple[dict[str, float], dict[str, Trace]]:
        """Readings of the policy before the update, and the traces of the loops, whose commands are in force then."""
        with self._phase("control"):
            telemetry = {"learning_rate": self.learning_rate.at(self.iteration)} | measure(
                batch, vocabulary_size=self.policy.vocabulary_size, domains=domains, read=read
            )
            # The first rank's readings count: another kind of device computes the last bit otherwise.
            telemetry = self.ranks.of_first(telemetry)
            traces = self.control.act(telemetry, self.iteration)
            self.control.follow(self.ranks.of_first(dict(self.control.commands)))
        return telemetry, traces

    def _update(self, sequences: Sequences, batch: TokenBatch, view: View, teaching: Teaching) -> Update:
        update = Update(seed=derive_seed(self.seed, "update", self.iteration))
        actuation = self.control.actuation
        batch = replace(batch, rewards=teaching.rewards.to(batch.rewards.device))
        batch = self.updater.shape(sequences, batch, actuation, view)
        for rows in self.updater.minibatches(batch.group.cpu(), teaching.kept, update.seed):
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
            group["lr"] = self.learning_rate.at(self.iteration)
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

    def configure_model(self) -> None:
        """Nothing is left to do: a policy that is sharded was so when it was loaded.  Lightning's strategy asks for this."""

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
            **self.batches.state_dict(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if frozen := self._frozen():
            checkpoint["state_dict"] |= frozen
        self.iteration = checkpoint["learner"]["iteration"]
        self.num_skipped_in_a_row = checkpoint["learner"]["num_skipped_in_a_row"]
        self.batches.load_state_dict(checkpoint["learner"], self.iteration, self._sampling)

    def _frozen(self) -> dict[str, torch.Tensor]:
        """Weights that training leaves as they were loaded, by their names in a checkpoint, which lacks them."""
        parameters = self.named_parameters(remove_duplicate=False)
        return {name: weight.detach() for name, weight in parameters if not weight.requires_grad}

    def _phase(self, name: Phase) -> AbstractContextManager[None]:
        return self.meter.phase(name, self.device)
