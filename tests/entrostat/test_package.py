"""`import entrostat`: light, complete, and safe beside files of the user's that are called as our packages."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import entrostat
from entrostat import campaigns

ROOT = Path(__file__).parents[2]
GRADES = """
import entrostat
from tasks.grading.pool import GradingPool

if __name__ == "__main__":
    from tasks import TASKS
    task = TASKS["arithmetic"](num_digits=1, operations=("+",))
    problem = task.problem("train", 0, 0)
    with GradingPool(task) as pool:
        print(pool.grade([problem], [problem.answer]).scores)
"""


def python(folder, code):
    """A script of that folder, with Entrostat installed: after the script's own folder in the path."""
    script = folder / "script.py"
    script.write_text(code)
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site" / "ours.pth").write_text(f"{ROOT}\n")
    start = f"import runpy, site, sys; sys.path[0] = {str(folder)!r}; sys.path.append({str(ROOT)!r}); "
    start += f"runpy.run_path({str(script)!r}, run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-c", start], capture_output=True, text=True, cwd=folder, timeout=200
    )


def test_every_name_is_there_and_documented():
    for name in entrostat.__all__:
        assert getattr(entrostat, name) is not None
    assert set(entrostat.__all__) == set(entrostat._PLACE_OF)
    assert set(entrostat.__all__) <= set(dir(entrostat))
    for name in ("read", "run", "compare", "loop"):
        assert inspect.getdoc(getattr(campaigns, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = entrostat.nothing


def test_a_file_of_tasks_costs_no_torch():
    code = "import sys; from entrostat import Task, Problem, Law, simulate; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", ["tasks", "controllers", "policies", "orchestrator"])
def test_a_users_file_of_our_names_hides_nothing(tmp_path, name):
    (tmp_path / f"{name}.py").write_text("raise RuntimeError('not ours')\n")
    done = python(
        tmp_path, "import entrostat\nprint(entrostat.Task.__module__, entrostat.simulate.__module__)"
    )
    assert done.stdout == "tasks.base controllers.plants.simulation\n", done.stderr


def test_the_path_stays_where_nothing_is_hidden(tmp_path):
    done = python(
        tmp_path, "import sys\nbefore = list(sys.path)\nimport entrostat\nprint(sys.path == before)"
    )
    assert done.stdout == "True\n", done.stderr


def test_graders_of_such_a_script_find_ours_too(tmp_path):
    (tmp_path / "tasks.py").write_text("raise RuntimeError('not ours')\n")
    done = python(tmp_path, GRADES.replace("import entrostat\n", "import entrostat\n", 1))
    assert done.stdout == "[1.0]\n", done.stderr


def test_a_users_module_that_came_first_is_named(tmp_path):
    (tmp_path / "tasks.py").write_text("mine = 1\n")
    done = python(tmp_path, "import tasks\nimport entrostat")
    assert done.returncode == 1
    assert "ImportError: entrostat has a package 'tasks', and another module of that name" in done.stderr
    assert f"{tmp_path / 'tasks.py'}" in done.stderr


def test_a_loop_has_the_keys_of_a_campaign():
    loop = entrostat.loop(
        actuator={"kind": "bonus"}, reference={"kind": "constant", "value_nats": 0.5}, limits=(-1, 1)
    )
    assert (loop.sensor, loop.actuator, loop.low, loop.high) == ("entropy", "bonus", -1, 1)
    plant = entrostat.IntegratingPlant(gain=0.02, drift=0.004, initial_nats=1.0)
    assert entrostat.simulate(loop, plant, num_iterations=1000)[-1].y == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ValueError, match=r"^loop: referense: unknown key; did you mean 'reference'"):
        entrostat.loop(actuator={"kind": "bonus"}, referense=1)


def test_a_run_that_fails_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"gone.yaml: cannot be read"):
        entrostat.run("gone.yaml")


def test_a_loop_is_built_of_what_its_file_is_now(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (
        "from dataclasses import dataclass\nfrom entrostat import Law\n@dataclass(frozen=True, kw_only=True)\n"
        "class Mine(Law):\n    gain: float = 1.0\n    def init(self): return ()\n"
        "    def step(self, state, sample): return (), {'p': self.gain}\n"
    )
    for gain in ("1.0", "2.0"):
        (tmp_path / "laws.py").write_text(text.replace("1.0", gain))
        loop = entrostat.loop(law="laws.py:Mine", actuator={"kind": "bonus"})
        assert loop.law.gain == float(gain)


def test_a_setting_that_no_file_can_hold_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"settings: tracking.folder must be what YAML can hold, got .*Path"):
        entrostat.run(tmp_path / "campaign.yaml", {"tracking.folder": tmp_path})
