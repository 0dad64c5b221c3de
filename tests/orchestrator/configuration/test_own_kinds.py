"""Parts of a user's own: by file, by module, by entry point; refused where they cannot be a part."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from orchestrator.campaign import prepare
from orchestrator.cli import app
from orchestrator.commands.schema import json_schema
from orchestrator.configuration import own_kinds
from orchestrator.configuration.checks import check_campaign
from orchestrator.configuration.inputs import inputs_of
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.own_families import OWN
from orchestrator.configuration.resolve import read_campaign
from orchestrator.configuration.signals import check_own_sensors
from orchestrator.errors import ConfigError
from orchestrator.training.run import EXIT_DONE
from orchestrator.training.run import main as work

EXAMPLE = Path(__file__).parents[3] / "examples" / "own"
HEAD = """
import math
from pathlib import Path
from dataclasses import dataclass
from typing import ClassVar
from controllers.base import Law, Reference
from policies.actuators.base import RewardActuator
part = dataclass(frozen=True, kw_only=True)
"""
STEP = """
    gain: float = 1.0
    def init(self): return ()
    def step(self, state, sample): return (), {"p": self.gain * sample.e}
"""
PARTS = f"""{HEAD}
@part
class Good(Law):
    \"\"\"A law of mine.\"\"\"{STEP}
class NoDataclass(Law):{STEP}
@dataclass
class NotFrozen(Law):{STEP}
@part
class Lacks(Law):
    def init(self): return ()
@part
class Taken(Law):
    kind: ClassVar[str] = "pid"{STEP}
@part
class OddName(Law):
    kind: ClassVar[str] = "a/b"{STEP}
@part
class NoCommand(RewardActuator):
    def rewards(self, batch, u): return batch.rewards
@part
class KindIsASetting(Law):
    kind: str = "mine"{STEP}
@part
class APath(Law):
    where: Path = Path("x"){STEP}
@part
class Endless(Law):
    most: float = math.inf{STEP}
class Other: pass
def function(batch): return 0.5
THING = 3
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A campaign with one loop, in a folder that is not the working directory."""
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    (folder / "parts.py").write_text(PARTS)

    def campaign(law, **loop):
        content = {
            "name": "own",
            "task": {"kind": "arithmetic", "num_digits": 1, "operations": ["+"]},
            "policy": {"warm_start": {"num_steps": 1}},
            "learner": {"iterations": 2, "prompts_per_iteration": 2, "group_size": 2, "learning_rate": 1e-3},
            "evaluation": {"every": 2, "num_problems": 4, "num_samples": 2, "pass_at": [2]},
            "arms": [{"name": "a", "loops": {"main": {"law": law, "actuator": {"kind": "bonus"}, **loop}}}],
        }
        path = folder / "campaign.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return campaign


def loop_of(path):
    return read_campaign(path).arms[0].config.loops["main"]


@pytest.mark.parametrize("kind", ["parts.py:Good", "parts.Good"])
def test_a_class_is_named_by_its_file_or_as_a_module_beside_the_campaign(write, tmp_path, kind):
    arm = read_campaign(write({"kind": kind, "gain": 0.5})).arms[0]
    law = arm.config.loops["main"].law
    assert (type(law).__name__, law.kind, law.gain) == ("Good", "Good", 0.5)
    assert arm.plain["loops"]["main"]["law"] == {"kind": f"{tmp_path}/mine/parts.py:Good", "gain": 0.5}
    assert loop_of(write(kind)).law.gain == 1.0


def test_a_run_reads_back_what_was_written_down(write, monkeypatch):
    arm = read_campaign(write({"kind": "parts.py:Good"})).arms[0]
    monkeypatch.chdir("/")
    assert RunConfig(**json.loads(json.dumps(arm.plain))) == arm.config


def test_the_fingerprint_does_not_depend_on_the_folder(write, tmp_path):
    path = write({"kind": "parts.py:Good"})
    here = read_campaign(path).arms[0].fingerprint
    (tmp_path / "mine").rename(tmp_path / "elsewhere")
    assert read_campaign(tmp_path / "elsewhere" / "campaign.yaml").arms[0].fingerprint == here


def test_a_project_that_was_moved_continues_its_runs(write, tmp_path):
    path = write({"kind": "parts.py:Good", "gain": 0.5}, sensor="parts.py:function")
    run = prepare(read_campaign(path)).run("a", 0)
    moved = tmp_path / "elsewhere"
    (tmp_path / "mine").rename(moved)
    assert prepare(read_campaign(moved / "campaign.yaml")).run("a", 0).path == run.path
    loop = run.read_info().config["loops"]["main"]
    assert (loop["law"]["kind"], loop["sensor"]) == (f"{moved}/parts.py:Good", f"{moved}/parts.py:function")
    with pytest.raises(ConfigError, match=r"loops\.main\.law\.gain: stored 0\.5, now 0\.6"):
        prepare(read_campaign(moved / "campaign.yaml", ["arms.0.loops.main.law.gain=0.6"]))


def test_a_changed_file_refuses_to_continue(write, tmp_path):
    path, file = write({"kind": "parts.py:Good"}, sensor="parts.py:function"), tmp_path / "mine" / "parts.py"
    prepare(read_campaign(path))
    file.write_text(PARTS.replace("0.5", "0.6"))
    with pytest.raises(ConfigError, match=r"read other inputs: loops.main.sensor \(parts.py\)"):
        prepare(read_campaign(path))


@pytest.mark.parametrize(
    ("law", "said"),
    [
        ("parts.py:Nope", r"has no 'Nope'; it has Good, NoDataclass"),
        ("gone.py:Law", r"there is no file .*gone.py; check the path"),
        (
            "parts.py:NoDataclass",
            r"must be a frozen dataclass, whose fields are its settings; put @dataclass",
        ),
        ("parts.py:NotFrozen", r"must be a frozen dataclass"),
        ("parts.py:Lacks", r"lacks step, which every controllers.base.Law has; write them"),
        ("parts.py:Taken", r"kind must not be 'pid', which is one of ours; rename it"),
        ("parts.py:OddName", r"kind must be of letters, digits, _ and -, got 'a/b'; rename it"),
        (
            "parts.py:KindIsASetting",
            r"kind must not be a setting, for it names the class; write kind: ClassVar",
        ),
        ("parts.py:APath", r"where: must be what JSON can hold, got PosixPath\('x'\); take a number"),
        ("parts.py:Endless", r"most: must be what JSON can hold, got inf; take a number"),
        ("parts.py:Other", r"must be a subclass of controllers.base.Law, got 'Other'; derive it from that"),
        ("parts.py:THING", r"must be a subclass of controllers.base.Law, got 3"),
        ({"kind": "parts.py:Good", "gian": 2}, r"unknown key 'gian' of .*parts.py:Good; did you mean 'gain'"),
        ({"kind": "parts.py:Good", "gain": "x"}, r"gain: input should be a valid number.* got 'x'"),
        ("no_such_package.Law", r"no_such_package cannot be imported: ModuleNotFoundError"),
        ("my_law", r"unknown kind 'my_law'"),
    ],
)
def test_what_cannot_be_a_law_is_refused_in_one_line_with_file_and_key(write, law, said):
    path = write(law)
    with pytest.raises(ConfigError) as refused:
        read_campaign(path)
    (line,) = str(refused.value).split("\n")
    assert line.startswith(f"{path}: arms.a.loops.main.law")
    assert re.search(said, line), line


def test_an_actuator_needs_its_command_and_a_sensor_is_a_function(write):
    with pytest.raises(
        ConfigError, match=r"loops.main.actuator: .* lacks command, which every .*Actuator sets"
    ):
        read_campaign(write("auto", actuator={"kind": "parts.py:NoCommand"}))
    with pytest.raises(ConfigError, match=r"loops.main.sensor: .*Other must be a function of a TokenBatch"):
        read_campaign(write("auto", sensor="parts.py:Other"))
    assert loop_of(write("auto", sensor="parts.py:function")).build().sensor == "own/function"


def test_two_sensors_of_one_name_are_refused_and_one_of_two_loops_is_not(write, tmp_path):
    for folder in ("s1", "s2"):
        (tmp_path / "mine" / folder).mkdir()
        (tmp_path / "mine" / folder / "m.py").write_text("def spread(batch): return 0.5\n")
    other = {"law": "auto", "actuator": {"kind": "temperature"}}
    for second, is_refused in (("s2", True), ("s1", False)):
        path = write("auto", sensor="s1/m.py:spread")
        content = yaml.safe_load(path.read_text())
        content["arms"][0]["loops"]["more"] = other | {"sensor": f"{second}/m.py:spread"}
        path.write_text(yaml.safe_dump(content))
        found = list(check_own_sensors(read_campaign(path).arms[0].config.loops))
        assert len(found) == is_refused
        if is_refused:
            with pytest.raises(ConfigError, match=r"loops.more.sensor: .*s2/m.py:spread.*; rename one"):
                check_campaign(read_campaign(path), with_problems=False)


def test_the_schema_takes_kinds_of_a_users_own_and_refuses_others():
    schema = json_schema("campaign")
    arm = {"name": "x", "task": {"kind": "tasks.py:Parity", "largest": 3}, "learner": {}}
    loop = {"actuator": {"kind": "parts.py:Mine", "any": 1}}
    for law in ("parts.py:Mine", "my_package.Mine", {"kind": "parts.py:Mine", "gain": 1}):
        arms = [{"name": "a", "loops": {"main": loop | {"law": law}}}]
        jsonschema.validate(arm | {"arms": arms}, schema)
    for law in ("pidd", {"kind": "pidd"}, 3):
        arms = [{"name": "a", "loops": {"main": loop | {"law": law}}}]
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(arm | {"arms": arms}, schema)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package that offers a law that works and one that does not."""
    site = tmp_path / "site"
    (site / "their_parts-1.0.dist-info").mkdir(parents=True)
    (site / "their_parts.py").write_text(PARTS)
    (site / "their_parts-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: their-parts\nVersion: 1.0\n"
    )
    (site / "their_parts-1.0.dist-info" / "entry_points.txt").write_text(
        "[entrostat.laws]\nmy_law = their_parts:Good\nbroken = their_parts:Lacks\npid = their_parts:Good\n"
    )
    monkeypatch.syspath_prepend(str(site))
    own_kinds._offers.cache_clear()
    yield site
    own_kinds._offers.cache_clear()
    sys.modules.pop("their_parts", None)


def test_an_installed_package_offers_kinds_by_name(write, installed):
    arm = read_campaign(write({"kind": "my_law", "gain": 2})).arms[0]
    assert arm.config.loops["main"].law.gain == 2
    assert arm.plain["loops"]["main"]["law"]["kind"] == "my_law"
    assert RunConfig(**arm.plain) == arm.config
    assert list(inputs_of(arm.config)) == ["loops.main.law (their_parts.py)"]
    with pytest.raises(ConfigError, match="broken lacks step"):
        read_campaign(write({"kind": "broken"}))
    assert type(loop_of(write({"kind": "pid", "kp": 1, "ki": 0})).law).__module__ == "controllers.laws.pid"


def test_what_is_installed_is_listed(installed):
    listed = CliRunner().invoke(app, ["list", "laws"]).output
    assert "my_law                   A law of mine. (their_parts:Good)" in listed
    assert "broken                   cannot be used: broken lacks step" in listed
    assert "my_law" in CliRunner().invoke(app, ["list"]).output


def test_every_family_has_its_entry_points():
    assert {each.group for each in OWN.values()} == {
        f"entrostat.{name}"
        for name in (
            *("tasks", "laws", "references", "filters", "feedforwards", "dithers"),
            *("actuators", "objectives", "advantages", "detectors"),
        )
    }


@pytest.mark.trains
def test_the_example_trains_with_one_part_of_each_family(tmp_path, monkeypatch):
    """In a process of its own kinds: what the run is, is on disk."""
    monkeypatch.chdir(tmp_path)
    overrides = ["learner.iterations=3", "policy.warm_start.num_steps=20", "evaluation.every=3"]
    overrides.append("guardrails.own=[{kind: parts.py:Talkative, threshold: 0.5, patience: 2}]")
    campaign = read_campaign(EXAMPLE / "campaign.yaml", overrides)
    check_campaign(campaign)
    labels = {label.split(" (")[0] for label in inputs_of(campaign.arms[0].config)}
    assert labels == {"task", "task.reward.0", "loops.entropy.filter"}
    folder = prepare(campaign)
    run = folder.run("own", 0)
    assert work(str(run.path)) == EXIT_DONE, run.read_status()
    rows = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    train = [row for row in rows if row["kind"] == "train"]
    assert len(train) == 3
    for row in train:
        found = row["metrics"]
        assert found["reward"] == pytest.approx(
            (found["reward/digits"] + 0.1 * found["reward/brief/score"]) / 1.1, abs=1e-6
        )
        assert found["own/spread"] >= 0
        assert found["loop/spread/y"] == found["own/spread"]
        assert found["loop/entropy/term/p"] == pytest.approx(0.5 * found["loop/entropy/e"])
        assert math.isfinite(found["ratio/weighted"])
    (event,) = [json.loads(line) for line in run.events_path.read_text().splitlines()]
    assert (event["detector"], event["iteration"], event["threshold"]) == ("Talkative", 1, 0.5)
