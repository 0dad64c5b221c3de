"""Destination of the results of a campaign."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PositiveInt

from orchestrator.configuration.part_schema import Strict
from orchestrator.tracking.others import OtherTracker

MOST_SAMPLES = 1000
"""Samples of an iteration: each is a few kilobytes."""


class TrackingConfig(Strict):
    """Destination of the results."""

    folder: str = "runs"
    """Run folders, checkpoints and reports, relative to the working directory."""
    uri: str | None = None
    """MLflow tracking URI; null is an SQLite file in the folder."""
    also: tuple[OtherTracker, ...] = ()
    """Trackers that get every run of a campaign too, while it trains: ``tensorboard``, ``wandb``, ``trackio``.  They write
    into the campaign's folder and send nothing, unless their own environment variables say so (``WANDB_MODE``)."""
    artifacts: bool = True
    """Copy the last checkpoint and the policy of each run into MLflow.  With ``false`` they stay in the run's folder alone,
    which the model that MLflow has of every policy (``models``) refers to."""
    models: bool = True
    """Log the policy of each run that is done as a model of MLflow, which refers to the run's folder.  ``false`` is for a
    server without logged models (MLflow before 3)."""
    system_metrics: bool = False
    """Load of the machine that the command runs on, its GPUs included where ``nvidia-ml-py`` is installed: by MLflow's own
    monitor, on the campaign's MLflow run."""
    samples: Annotated[int, Field(ge=0, le=MOST_SAMPLES)] = 4
    """Responses of an iteration that are kept as texts, in the run's folder, its report and MLflow: the first to each
    of the first prompts.  0 keeps none.  Samples change no result."""
    samples_every: PositiveInt | None = None
    """Iterations between two of which samples are kept; null is a tenth of the run.  The first and the last iteration
    have samples too."""
    samples_entropies: bool = True
    """Keep the tokens of samples one by one, with the policy's entropy at each [nats]."""

    @property
    def of_samples(self) -> dict[str, Any]:
        """What a run keeps as samples, for its record."""
        return {
            "number": self.samples,
            "every": self.samples_every,
            "entropies": self.samples_entropies,
        }
