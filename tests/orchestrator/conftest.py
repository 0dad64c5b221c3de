"""A campaign folder as a finished campaign leaves it, made of plausible curves in a fraction of a second."""

from __future__ import annotations

import math
import random
import shutil

import pytest

from orchestrator.storage.run_folder import CampaignFolder, CampaignInfo, RunInfo, Status
from orchestrator.tracking.store import default_uri, open_client
from tests.orchestrator.browser import Browser

LEARNER = {"iterations": 150, "learning_rate": 0.001, "objective": {"kind": "clipped_surrogate"}}
SETPOINT = 0.2


def pi_loop(actuator, limits):
    return {
        "entropy": {
            "sensor": "entropy",
            "reference": {"kind": "constant", "value_nats": SETPOINT},
            "law": {"kind": "pid", "kp": 1.0, "ki": 0.01},
            "actuator": {"kind": actuator},
            "limits": limits,
        }
    }


ARMS = {
    "grpo": {"method": "grpo", "loops": {}},
    "entropic": {"method": "entropic", "loops": pi_loop("sign_weights", [-1.0, 1.0])},
    "aer": {"method": "aer", "loops": pi_loop("bonus", [0.0, 0.04])},
}


def entropy_at(arm, t, rng):
    free = 0.035 + 0.225 * math.exp(-t / 28)
    if arm == "grpo":
        return free * (1 + 0.06 * rng.gauss(0, 1))
    hold = 1 - math.exp(-t / (12 if arm == "entropic" else 30))
    aim = SETPOINT if arm == "entropic" else 0.13
    dip = 0.03 * math.sin(t / 9) * math.exp(-t / 30)
    return (free + (aim - free) * hold + dip) * (1 + 0.03 * rng.gauss(0, 1))


def train_metrics(arm, t, rng, integral):
    entropy = entropy_at(arm, t, rng)
    skill = 1 - math.exp(-t / {"grpo": 34, "entropic": 45, "aer": 40}[arm])
    ceiling = {"grpo": 0.42, "entropic": 0.45, "aer": 0.43}[arm]
    reward = min(1.0, 0.48 + ceiling * skill + 0.015 * rng.gauss(0, 1))
    metrics = {"entropy": entropy, "reward": reward, "pass_rate": reward, "loss": math.nan, "grad_norm": 0.4}
    metrics["entropy/predicted_change"] = -0.1 * entropy
    if arm == "grpo":
        return metrics, integral
    e = SETPOINT - entropy
    limit = 1.0 if arm == "entropic" else 0.04
    integral += 0.01 * e
    gain = 4.0 if arm == "entropic" else 0.3
    v = gain * e + 8 * integral
    u = max(-limit if arm == "entropic" else 0.0, min(limit, v))
    loop = {"y": entropy, "r": SETPOINT, "e": e, "v": v, "u": u, "saturated": float(u != v), "held": 0.0}
    metrics |= {f"loop/entropy/{letter}": value for letter, value in loop.items()}
    metrics |= {"loop/entropy/term/proportional": gain * e, "loop/entropy/term/integral": 8 * integral}
    return metrics, integral


def write_run(campaign, arm, seed, num_iterations=150, status="done", reason=None):
    run = campaign.run(arm, seed)
    config = {"learner": LEARNER, "loops": ARMS[arm]["loops"], "rollout": {"temperature": 1.0}}
    run.write_info(
        RunInfo(campaign=campaign.path.name, arm=arm, seed=seed, method=ARMS[arm]["method"], config=config)
    )
    rng, integral = random.Random(f"{arm}/{seed}"), 0.0
    with run.writer() as writer:
        for t in range(num_iterations + 1):
            if t % 25 == 0:
                solved = 0.5 + 0.42 * (1 - math.exp(-t / 40)) + 0.012 * rng.gauss(0, 1)
                sampled = min(1.0, solved + (0.02 if arm == "grpo" else 0.06))
                writer.append(t, {"eval/pass_at_1": solved, "eval/pass_at_8": sampled}, kind="eval")
            if t < num_iterations:
                metrics, integral = train_metrics(arm, t, rng, integral)
                writer.append(t, metrics)
    run.write_status(Status(status=status, reason=reason, iteration=num_iterations, num_iterations=150))
    return run


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """Made once and copied by each test: MLflow's migrations take seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    open_client(f"sqlite:///{path}").search_experiments(max_results=1)
    return path


@pytest.fixture
def mlflow_uri(tmp_path, empty_database):
    """An SQLite tracking URI with nothing in it yet."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return default_uri(tmp_path)


@pytest.fixture
def confidential_database(tmp_path, empty_database):
    """A tracking URI with a credential of the environment, PLANTED_TOKEN, which SQLite does not mind."""
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_database, tmp_path / "runs" / "mlflow.db")
    return f"sqlite:///file:{tmp_path}/runs/mlflow.db?uri=true&token=${{oc.env:PLANTED_TOKEN}}"


@pytest.fixture
def make_campaign(tmp_path):
    """`make_campaign(seeds=(0, 1, 2), arms=(...), name=...)` gives the folder of a finished campaign."""

    def make(seeds=(0, 1, 2), arms=tuple(ARMS), name="quickstart", **info):
        campaign = CampaignFolder(tmp_path / "runs" / name)
        defaults = {
            "description": "A 0.1 M-parameter Llama learns two-digit addition by GRPO, "
            "with and without entropy control.",
            "config": {"arms": [{"name": arm} for arm in arms]},
            "source": "configs/quickstart.yaml",
            "versions": {"entrostat": "0.1.0", "python": "3.11.7", "torch": "2.13.0"},
            "git_commit": "d9a3530c0ffee",
            "created": 1.78e9,
        }
        campaign.write_info(CampaignInfo(**{"name": name, **defaults, **info}))
        for arm in arms:
            for seed in seeds:
                write_run(campaign, arm, seed)
        return campaign

    return make


@pytest.fixture
def browser(tmp_path):
    """Headless Chromium, driven live."""
    if not shutil.which("chromium"):
        pytest.skip("needs chromium (apt-get install chromium)")
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.close()
