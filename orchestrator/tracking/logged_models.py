"""The trained policy of a run as a model of MLflow: by reference, with the last numbers of the run.

MLflow's transformers flavour can name a folder of weights outside its artifacts.  So a model costs a few kilobytes
however large the policy is, and ``mlflow.transformers.load_model("models:/<id>")`` reads the run's own folder.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from orchestrator.storage.metrics_log import Record
from orchestrator.storage.run_folder import RunFolder, RunInfo
from orchestrator.tracking.batches import log_metrics, metrics_of

FLAVOUR = "transformers"
_REFUSED = re.compile("[/:.%\"']")
"""Characters that the name of a model must not have."""
SMALL_FILES = ("tokenizer*", "special_tokens_map.json", "chat_template*", "vocab*", "merges.txt")


def log_policy(client: Any, experiment_id: str, run_id: str, folder: RunFolder, info: RunInfo) -> str:
    """Log the policy of a run that is done, unless MLflow has it; give the model's id."""
    from mlflow.entities import LoggedModelOutput

    there = client.search_logged_models([experiment_id], filter_string=f"source_run_id = '{run_id}'")
    model = next(iter(there), None) or client.create_logged_model(
        experiment_id,
        name=_REFUSED.sub("_", f"{info.arm}-seed-{info.seed}"),
        source_run_id=run_id,
        params={"arm": info.arm, "seed": str(info.seed), "method": info.method},
        model_type="policy",
    )
    if str(model.status) != "READY":
        with tempfile.TemporaryDirectory() as place:
            _write_reference(Path(place), folder.policy_path.resolve(), model)
            client.log_model_artifacts(model.model_id, place)
        last = _last_records(folder)
        client.log_outputs(
            run_id, [LoggedModelOutput(model.model_id, max((r.step for r in last), default=0))]
        )
        log_metrics(
            client, run_id, [metric for record in last for metric in metrics_of(record, model.model_id)]
        )
        client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def _write_reference(place: Path, policy: Path, model: Any) -> None:
    """The files of the flavour: where the weights are, and the tokenizer itself, which is small."""
    from mlflow.models import Model

    described = Model(model_id=model.model_id, model_uuid=model.model_id)
    described.add_flavor(
        FLAVOUR,
        task="text-generation",
        instance_type="TextGenerationPipeline",
        pipeline_model_type="AutoModelForCausalLM",
        local_base_model_path=str(policy),
        components=["tokenizer"],
        tokenizer_type="AutoTokenizer",
    )
    described.save(str(place / "MLmodel"))
    tokenizer = place / "components" / "tokenizer"
    tokenizer.mkdir(parents=True)
    for pattern in SMALL_FILES:
        for file in policy.glob(pattern):
            shutil.copy(file, tokenizer)


def _last_records(folder: RunFolder) -> list[Record]:
    """The last record of each kind."""
    return list({record.kind: record for record in folder.records()}.values())
