"""What control, grading and tracking cost, as shares of a training iteration measured in the same run.

One controlled arm of configs/holding.yaml is trained in this process.  The control layer is the reduction of
the tokens to telemetry, the loop and its trace.  Grading is that of 256 easy responses, sent to a worker
process and back.  Tracking has two parts: the record that training appends to its run folder, and the
forwarding to MLflow, which happens in the parent process beside it; its processor time is given as a
share of the run's.

    python benchmarks/control_and_tracking.py [--quick]
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from orchestrator.campaign import prepare  # noqa: E402
from orchestrator.configuration.resolve import read_campaign  # noqa: E402
from orchestrator.storage.metrics_log import MetricsWriter  # noqa: E402
from orchestrator.tracking.store import default_uri, open_client  # noqa: E402
from orchestrator.tracking.tracker import Tracker  # noqa: E402
from orchestrator.training.run import EXIT_DONE  # noqa: E402
from orchestrator.training.run import main as run_main  # noqa: E402

GOAL = 0.005


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer iterations")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    iterations = 30 if arguments.quick else 150

    appending: list[float] = []
    append = MetricsWriter.append

    def timed(self: MetricsWriter, *positional: object, **named: object) -> None:
        start = time.perf_counter()
        append(self, *positional, **named)  # type: ignore[arg-type]
        appending.append(time.perf_counter() - start)

    MetricsWriter.append = timed  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as root:
        overrides = [f"learner.iterations={iterations}", f"tracking.folder={root}", "name=bench"]
        campaign = read_campaign(ROOT / "configs" / "holding.yaml", overrides)
        folder = prepare(campaign)
        run = folder.run(campaign.arms[-1].name, campaign.config.seeds[0])
        start = time.process_time()
        assert run_main(str(run.path)) == EXIT_DONE, run.read_status().reason
        training = time.process_time() - start

        records = [record.metrics for record in run.records() if record.kind == "train"]
        iteration = statistics.median(record["seconds/iteration"] for record in records)
        control = statistics.median(record["seconds/control"] for record in records)
        _line("control layer", control / iteration, f"{1e3 * control:.2f} ms of {1e3 * iteration:.1f} ms")
        grade = statistics.median(record["seconds/grade"] for record in records)
        _line("grading", grade / iteration, f"{1e3 * grade:.2f} ms of {1e3 * iteration:.1f} ms", goal=None)
        write = statistics.median(appending)
        _line("tracking, in training", write / iteration, f"{1e3 * write:.2f} ms of {1e3 * iteration:.1f} ms")

        uri = default_uri(Path(root))
        open_client(uri)  # imports MLflow and makes the database, once for all campaigns
        start = time.process_time()
        delivered = Tracker(folder, uri, artifacts=False).forward()
        forwarding = time.process_time() - start
        assert delivered, "MLflow did not take the records"
        sent = sum(len(record) for record in records)
        _line(
            "tracking, in the parent",
            forwarding / training,
            f"{forwarding:.2f} s of {training:.1f} s processor time, {sent} values of {len(records)} iterations",
        )


def _line(name: str, share: float, detail: str, goal: float | None = GOAL) -> None:
    if goal is not None:
        detail += f"; {'within' if share <= goal else 'above'} the goal of {goal:.1%}"
    print(f"{name:26}{share:8.2%}   ({detail})")


if __name__ == "__main__":
    main()
