"""Runs of studies, of a Ray cluster and of SLURM's local executor, killed at random moments: is anything lost?

A small campaign or study is run once in peace, and then killed again and again: the command, one of its processes,
or all of them at once, after which the same command is given again.  What comes out has to be what came out in
peace: every record once and with the same numbers, the same weights, no trial drawn twice, one MLflow run a run, no
process left.

    python -m benchmarks.kills [--kills 20] [--seed 0] [--minutes 30] [--longest 60] study|ray|slurm …
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
from orchestrator.storage.run_folder import CampaignFolder, RunFolder

ROOT = Path(__file__).parents[1]
MARK = "ENTROSTAT_KILLS"
"""A variable in the environment of every process that is started here, and of no other."""
PROCESSES = {
    "command": "orchestrator.cli",
    "worker of the study": "orchestrator.tuning.worker",
    "driver of Ray": "orchestrator.execution.ray_driver",
    "task of Ray": "ray::attend",
    "controller of SLURM": "submitit.core._submit",
    "run": "orchestrator.training.worker",
}
"""What can be killed, and by what its command line is known."""
AT_WORK = 0.75
"""Share of the moments that are counted from when a run is there; the others from when the command was given."""
CLOCKS = ("seconds/", "rollout/tokens_per_second")
POLICY = {
    "source": "builtin:tiny",
    "architecture": {"hidden_size": 32, "intermediate_size": 64, "num_layers": 2, "num_heads": 1},
    "warm_start": {"num_steps": 120, "batch_size": 32, "learning_rate": 1.0e-2, "error_rate": 0.1},
}
HELD = {
    "name": "held",
    "loops": {
        "entropy": {
            "reference": {"kind": "constant", "value_nats": 0.4},
            "law": {"kind": "pid", "kp": 1.0, "ki": 0.1},
            "actuator": {"kind": "bonus"},
        }
    },
}
CAMPAIGN = {
    "name": "small",
    "policy": POLICY,
    "task": {"kind": "arithmetic", "num_digits": 1},
    "learner": {
        "iterations": 8, "prompts_per_iteration": 4, "group_size": 4, "learning_rate": 1.0e-3,
        "checkpoint_every": 2, "accelerator": "cpu",
    },
    "rollout": {"max_tokens": 8},
    "evaluation": {"every": 4, "num_problems": 6, "num_samples": 4, "pass_at": [4]},
    "execution": {"threads": 1, "workers": 2, "retries": 100},
    "arms": [{"name": "grpo", "method": "grpo"}, HELD],
}  # fmt: skip
STUDY = {
    "name": "small",
    "campaign": "campaign.yaml",
    "arm": "held",
    "seeds": [0],
    "space": {
        "loops.entropy.law.kp": {"low": 0.01, "high": 10.0, "log": True},
        "loops.entropy.law.ki": {"low": 0.001, "high": 1.0, "log": True},
    },
    "budget": {"trials": 3},
    "confirm": {"trials": 1, "seeds": 2},
    "sampler": {"kind": "random"},
    "workers": 2,
    "stale_seconds": 5,
    "retries": 100,
}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A way to run, and where it runs in this soak."""

    name: str
    home: Path
    mark: str
    executor: dict[str, Any] = field(default_factory=lambda: {"kind": "local"})

    @property
    def environment(self) -> dict[str, str]:
        """Environment of the commands: few threads, a cache of their own, and the mark."""
        own = {MARK: self.mark, "PYTHONPATH": str(ROOT), "ENTROSTAT_CACHE": str(self.home / "cache")}
        return os.environ | own | {"OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled"}

    def begin(self, folder: Path, executor: dict[str, Any]) -> subprocess.Popen[bytes]:
        """Give the command, in a folder that is made where there is none."""
        folder.mkdir(exist_ok=True)
        campaign = CAMPAIGN | {"execution": {**CAMPAIGN["execution"], "executor": executor}}
        (folder / "campaign.yaml").write_text(yaml.safe_dump(campaign, sort_keys=False))
        (folder / "study.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
        what = ["tune", "study.yaml"] if self.name == "study" else ["run", "campaign.yaml"]
        with (folder / "output.txt").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "orchestrator.cli", *what],
                cwd=folder, env=self.environment, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip


def main(arguments: list[str]) -> int:
    """Soak every kind that is named; the exit status says whether all came to what they come to in peace."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="+", choices=("study", "ray", "slurm"))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--minutes", type=float, default=30.0, help="of each kind, after which nothing is killed"
    )
    parser.add_argument(
        "--longest", type=float, help="between two kills [seconds]; default: what a run takes in peace"
    )
    given = parser.parse_args(arguments)
    problems: list[str] = []
    for name in given.kinds:
        rng = random.Random(f"{given.seed}/{name}")
        with tempfile.TemporaryDirectory(prefix="kills-") as home, _marked() as mark:
            deadline = time.monotonic() + 60 * given.minutes
            with _cluster(mark) if name == "ray" else nullcontext({"kind": "local"}) as executor:
                if name == "slurm":
                    executor = {"kind": "slurm", "cluster": "local", "time_minutes": 60, "grace_seconds": 10}
                kind = Kind(name=name, home=Path(home), mark=mark, executor=executor)
                problems += [
                    f"{name}: {each}" for each in soak(kind, given.kills, rng, deadline, given.longest)
                ]
    print(*(problems or ["nothing was lost, done twice or drawn again"]), sep="\n")
    return 1 if problems else 0


def soak(
    kind: Kind, kills: int, rng: random.Random, deadline: float, longest: float | None = None
) -> Iterator[str]:
    """Run in peace, then under fire, round by round until there were so many kills; give what is wrong."""
    began = time.monotonic()
    peace = kind.home / "peace"
    yield from _to_the_end(kind.begin(peace, {"kind": "local"}), peace, 1800.0)
    usual = time.monotonic() - began
    print(f"{kind.name}: in peace {usual:.0f} s", flush=True)
    done = rounds = 0
    while done < kills and time.monotonic() < deadline:
        rounds += 1
        folder = kind.home / f"round-{rounds}"
        done += _under_fire(
            kind, folder, kills - done, rng, longest or 1.2 * usual, deadline
        )  # none where it was too fast
        yield from _to_the_end(kind.begin(folder, kind.executor), folder, 1800.0)
        yield from _differences(peace, folder, is_study=kind.name == "study")
        if left := _alive(kind.mark):
            yield f"processes are left in {folder.name}: {', '.join(sorted(left))}"
    print(f"{kind.name}: {done} kills in {rounds} rounds, {time.monotonic() - began:.0f} s", flush=True)
    if done == 0:
        yield "nothing was killed; give it more minutes"


def _under_fire(
    kind: Kind, folder: Path, kills: int, rng: random.Random, longest: float, deadline: float
) -> int:
    """Kill until the command ends by itself, at most so often; how often it was."""
    done, command = 0, kind.begin(folder, kind.executor)
    while done < kills and time.monotonic() < deadline:
        if rng.random() < AT_WORK:
            with suppress(TimeoutError):
                _until(lambda at=command: at.poll() is not None or "run" in _alive(kind.mark), 300.0)
        with suppress(subprocess.TimeoutExpired):
            command.wait(rng.uniform(0.0, longest))
            break
        chosen = rng.choice([*sorted(_alive(kind.mark)), "all"])
        for pid in _processes(kind.mark):
            if chosen in (_what(pid), "all") and _what(pid) is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        done += 1
        print(f"{kind.name}: kill {done}, {folder.name}: {chosen}", flush=True)
        if chosen in ("command", "all"):
            command.wait()
            command = kind.begin(folder, kind.executor)
    if command.poll() is None:  # the last word is another command's, which follows or continues
        os.kill(command.pid, signal.SIGTERM)
    command.wait(300)
    return done


def _to_the_end(command: subprocess.Popen[bytes], folder: Path, seconds: float) -> Iterator[str]:
    try:
        code = command.wait(seconds)
    except subprocess.TimeoutExpired:
        command.kill()
        code = None
    if code != 0:
        tail = (folder / "output.txt").read_text()[-1500:]
        yield f"the command of {folder.name} ended with status {code}:\n{tail}"


def _differences(peace: Path, folder: Path, *, is_study: bool) -> Iterator[str]:
    """What a round came to and the peaceful one did not."""
    expected, found = _runs(peace, is_study), _runs(folder, is_study)
    if not is_study and expected.keys() != found.keys():
        yield f"{folder.name}: the runs {sorted(found)} instead of {sorted(expected)}"
    for name, run in found.items():
        where = f"{folder.name}/{name}"
        if (status := run.read_status()).status != "done":
            yield f"{where}: {status.status} ({status.reason})"
        if run.is_locked():
            yield f"{where}: a process is still at it"
        twice = [key for key, times in Counter((r.kind, r.step) for r in run.records()).items() if times > 1]
        if twice:
            yield f"{where}: has the records {twice} several times"
        if name in expected and _numbers(run) != _numbers(expected[name]):
            yield f"{where}: its records differ from those of the run in peace"
        if name in expected and _weights(run) != _weights(expected[name]):
            yield f"{where}: its weights differ from those of the run in peace"
        if len(run.records()) != len(next(iter(expected.values())).records()):
            yield f"{where}: has {len(run.records())} records"
    yield from _tracked(folder, found)
    if is_study:
        yield from _drawn(folder)


def _runs(folder: Path, is_study: bool) -> dict[str, RunFolder]:
    """Runs by name; those of a study by the values that were drawn, as their numbers count what died early."""
    runs = CampaignFolder(folder / "runs" / "small").runs()
    if not is_study:
        return {f"{run.path.parent.name}/{run.path.name}": run for run in runs}
    infos = [run.read_info() for run in runs]
    laws = [info.config["loops"]["entropy"]["law"] for info in infos]
    return {
        f"kp {law['kp']!r} ki {law['ki']!r} seed {info.seed}": run
        for law, info, run in zip(laws, infos, runs, strict=True)
    }


def _numbers(run: RunFolder) -> dict[tuple[str, int], dict[str, str]]:
    """Records without what clocks say; a number that is none equals itself as text."""
    return {
        (record.kind, record.step): {
            name: repr(value) for name, value in record.metrics.items() if not name.startswith(CLOCKS)
        }
        for record in run.records()
    }


def _weights(run: RunFolder) -> bytes:
    path = run.policy_path / "model.safetensors"
    return path.read_bytes() if path.exists() else b""


def _tracked(folder: Path, runs: dict[str, RunFolder]) -> Iterator[str]:
    """MLflow has each run once, and each of its records once."""
    from orchestrator.storage.metric_names import family_name
    from orchestrator.tracking.store import default_uri, open_client

    client = open_client(default_uri(folder / "runs"))
    experiments = [each.experiment_id for each in client.search_experiments() if each.name != "Default"]
    tracked = client.search_runs(experiments, "tags.`entrostat.seed` != ''", max_results=1000)
    names = Counter((each.data.tags["entrostat.arm"], each.data.tags["entrostat.seed"]) for each in tracked)
    wanted = Counter((run.path.parent.name, run.path.name.removeprefix("seed-")) for run in runs.values())
    if names != wanted:
        yield f"{folder.name}: MLflow has the runs {dict(names)} instead of {dict(wanted)}"
    for each in tracked:
        arm, seed = each.data.tags["entrostat.arm"], int(each.data.tags["entrostat.seed"])
        records = CampaignFolder(folder / "runs" / "small").run(arm, seed).records()
        steps = Counter(
            point.step for point in client.get_metric_history(each.info.run_id, family_name("reward"))
        )
        if steps != Counter(record.step for record in records if "reward" in record.metrics):
            yield f"{folder.name}: MLflow has the steps {dict(steps)} of {arm} seed {seed}"


def _drawn(folder: Path) -> Iterator[str]:
    """Each trial was drawn at its own place, once, and the budget was used up and not exceeded."""
    import optuna

    from orchestrator.tuning.addressed_sampling import place_of, sampler
    from orchestrator.tuning.models import SamplerConfig
    from orchestrator.tuning.storage import find_storage

    storage = find_storage(f"sqlite:///{folder}/runs/small/study.db", "sqlite:////nowhere/mlflow.db")
    study = optuna.load_study(study_name="small", storage=storage)
    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    if len(complete) != STUDY["budget"]["trials"]:
        outcomes = [(trial.number, trial.state.name, trial.user_attrs) for trial in study.trials]
        yield f"{folder.name}: {len(complete)} trials are complete: {outcomes}"
    places = [place_of(study, trial) for trial in complete]
    if len(set(places)) < len(places):
        yield f"{folder.name}: trials of the places {places} were trained"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    fresh = optuna.create_study(sampler=sampler(SamplerConfig(kind="random"), conditional=False))
    expected = []
    for _ in range(max(places, default=-1) + 1):
        trial = fresh.ask()
        expected.append(
            {
                path: trial.suggest_float(path, each["low"], each["high"], log=True)
                for path, each in STUDY["space"].items()
            }
        )
    for place, trial in zip(places, complete, strict=True):
        if trial.params != expected[place]:
            yield f"{folder.name}: trial {trial.number} has other parameters than its place {place}"


def _processes(mark: str) -> Iterator[int]:
    """Numbers of the processes of this soak that live."""
    wanted = f"{MARK}={mark}".encode()
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (path / "environ").read_bytes().split(b"\0"):
                yield int(path.name)


def _alive(mark: str) -> set[str]:
    """What there is to kill."""
    return {what for pid in _processes(mark) if (what := _what(pid)) is not None}


def _what(pid: int) -> str | None:
    """Kind of a process among those that can be killed."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return None
    return next((what for what, known in PROCESSES.items() if known in line), None)


@contextmanager
def _marked() -> Iterator[str]:
    """A mark for the processes of one soak; what has it at the end is killed."""
    mark = uuid.uuid4().hex
    try:
        yield mark
    finally:
        for pid in _processes(mark):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def _cluster(mark: str) -> Iterator[dict[str, Any]]:
    """A Ray cluster of this machine; gives the executor that joins it."""
    import ray

    port = _free_port()
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}"]
    command += ["--num-cpus=4", "--num-gpus=0", "--include-dashboard=false", "--disable-usage-stats"]
    command += [f"--object-store-memory={200 * 2**20}"]
    settings = {
        MARK: mark,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "PYTHONPATH": str(ROOT),
    }
    head = subprocess.Popen(
        command, env=os.environ | settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        _until(lambda: _answers(port), 120.0)
        yield {"kind": "ray", "address": f"{ray.util.get_node_ip_address()}:{port}", "num_cpus": 1}
    finally:
        os.killpg(head.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            head.wait(30)


def _answers(port: int) -> bool:
    import socket

    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True
    return False


def _free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the condition did not hold within {seconds:g} s")
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
