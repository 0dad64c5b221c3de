"""Campaigns whose runs are simulated loops on a plant that is known, and what is known of it on file."""

from __future__ import annotations

import pytest

from controllers.plants.plant import Plant
from controllers.plants.simulation import simulate
from orchestrator.configuration.loops import LoopConfig
from orchestrator.configuration.part_schema import to_plain
from orchestrator.engineering.plant_file import PlantFile, plant_text
from orchestrator.storage.run_folder import CampaignFolder, CampaignInfo, RunInfo, Status
from orchestrator.training.entropy_control import trace_metrics

UNREACHABLE = "http://127.0.0.1:9"

# As large as the plant of a tiny policy's entropy bonus; the command that holds ln 0.2 = −1.609 is 0.064.
PLANT = Plant(
    coordinates="log",
    a=(0.95,),
    b=(0.15,),
    delay=1,
    drift=-0.09,
    noise_std=0.04,
    level_nats=0.2,
    covariance=((4e-4, 0.0, 6e-4), (0.0, 1e-4, 0.0), (6e-4, 0.0, 1e-3)),
    num_samples=400,
)
INITIAL_NATS = 0.36


def loop_content(*, dither=True, plant=None, kp=0.5, ki=0.03, **more):
    content = {
        "sensor": "entropy",
        "reference": {"kind": "constant", "value_nats": 0.2},
        "law": {"kind": "pid", "kp": kp, "ki": ki, "error": "log"},
        "actuator": {"kind": "bonus"},
        "limits": [-1.0, 1.0],
        **more,
    }
    if dither:
        content["dither"] = {"kind": "prbs", "amplitude": 0.3, "hold": 3}
    if plant is not None:
        content["plant"] = to_plain(plant)
    return content


def write_simulated_run(campaign, arm, seed, content, plant, num_iterations, initial=INITIAL_NATS, **config):
    """A run folder as training leaves it, of the very loop that ``content`` configures."""
    run = campaign.run(arm, seed)
    loops = {"entropy": content} if content else {}
    learner = {"iterations": num_iterations, "learning_rate": 3e-4, "warmup_iterations": 5}
    run.write_info(
        RunInfo(
            campaign=campaign.path.name,
            arm=arm,
            seed=seed,
            method="custom",
            config={"learner": learner, "loops": loops, **config},
        )
    )
    built = LoopConfig(**(content or loop_content(kp=0.0, ki=0.0, dither=False)))
    loop = built.build(measure=config.get("learner", {}).get("measure", "before_update"))
    traces = simulate(loop, plant, num_iterations, seed=1000 + seed, initial_nats=initial)
    with run.writer() as writer:
        for trace in traces:
            metrics = {"entropy": trace.y, "reward": 0.5, "pass_rate": 0.5}
            writer.append(trace.t, metrics | (trace_metrics({"entropy": trace}) if content else {}))
    run.write_status(Status(status="done", iteration=num_iterations, num_iterations=num_iterations))
    return run


@pytest.fixture
def make_simulated(tmp_path):
    """`make_simulated({arm: loop content or None}, seeds=…)` gives the folder of a finished campaign."""

    def make(arms, *, seeds=(0, 1, 2), plant=PLANT, num_iterations=150, name="simulated", **config):
        campaign = CampaignFolder(tmp_path / "runs" / name)
        tracking = {
            "uri": UNREACHABLE
        }  # what is made of the runs would be logged there: two seconds of MLflow less
        known = {"arms": [{"name": arm} for arm in arms], "tracking": tracking}
        campaign.write_info(CampaignInfo(name=name, config=known))
        for arm, content in arms.items():
            for seed in seeds:
                write_simulated_run(campaign, arm, seed, content, plant, num_iterations, **config)
        return campaign

    return make


def plant_file(plant=PLANT, **channel):
    defaults = {"actuator": {"kind": "bonus"}, "limits": [-1.0, 1.0], "learning_rate": 3e-4}
    return PlantFile(
        plant=to_plain(plant),
        channel={**defaults, "initial_nats": INITIAL_NATS, **channel},
        origin={"campaign": "simulated", "arm": "easy", "runs": ["easy seed 0", "easy seed 1"]},
    )


@pytest.fixture
def write_plant(tmp_path):
    """`write_plant(plant, name, **channel)` gives the path of a plant file."""

    def write(plant=PLANT, name="plant.yaml", **channel):
        path = tmp_path / name
        path.write_text(plant_text(plant_file(plant, **channel)))
        return path

    return write
