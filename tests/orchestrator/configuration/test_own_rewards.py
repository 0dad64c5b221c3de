"""Rewards of a user's own in a campaign: read, located, checked, written down and held to."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml

from orchestrator.campaign import prepare
from orchestrator.commands.schema import json_schema
from orchestrator.configuration.checks import check_campaign
from orchestrator.configuration.inputs import inputs_of
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.own_rewards import reward_notices
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError
from orchestrator.training.inputs import InputsChangedError, require_inputs
from tasks.rewards import Reward

SUMS = {"kind": "arithmetic", "num_digits": 1, "operations": ["+"]}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A campaign in a folder that is not the working directory, beside a file of rewards."""
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    (folder / "rewards.py").write_text(
        "def good(response, answer): return float(response == answer)\n"
        "def ends(response, answer): return float(response.endswith(answer))\n"
        "def short(response): return 1 / (1 + len(response))\n"
        "def wrong(completion): return 1\n"
        "def raises(response): return {}['x']\n"
    )

    def campaign(task, **changes):
        content = {
            "name": "own",
            "task": task,
            "policy": {"warm_start": {"num_steps": 1}},
            "learner": {"iterations": 2, "prompts_per_iteration": 2, "group_size": 2, "learning_rate": 1e-3},
            "evaluation": {"every": 2, "num_problems": 4, "num_samples": 2, "pass_at": [2]},
            "arms": [{"name": "grpo", "method": "grpo"}],
        }
        path = folder / "campaign.yaml"
        path.write_text(yaml.safe_dump(content | changes))
        return path

    return campaign


def rewards_of(path):
    return read_campaign(path).arms[0].config.task.reward


def test_a_function_is_written_alone_or_as_a_list_with_weights(write, tmp_path):
    function = f"{tmp_path}/mine/rewards.py:good"
    one = (Reward(function=function),)
    assert rewards_of(write(SUMS | {"reward": "rewards.py:good"})) == one
    assert rewards_of(write(SUMS | {"reward": {"function": "rewards.py:good"}})) == one
    assert rewards_of(write(SUMS | {"reward": function})) == one
    assert rewards_of(write(SUMS | {"reward": "rewards.good"})) == one
    assert rewards_of(write(SUMS)) == ()
    several = ["rewards.py:good", {"function": "rewards.py:short", "weight": 0.5}]
    assert rewards_of(write(SUMS | {"reward": several})) == (
        *one,
        Reward(function=f"{tmp_path}/mine/rewards.py:short", weight=0.5),
    )


def test_a_run_reads_back_what_was_written_down(write, tmp_path, monkeypatch):
    arm = read_campaign(write(SUMS | {"reward": ["rewards.py:good", "rewards.py:short"]})).arms[0]
    monkeypatch.chdir("/")
    assert RunConfig(**json.loads(json.dumps(arm.plain))) == arm.config


def test_the_fingerprint_is_of_functions_and_weights_and_not_of_folders(write, tmp_path):
    path = write(SUMS | {"reward": "rewards.py:good"})
    here = read_campaign(path).arms[0].fingerprint
    (tmp_path / "mine").rename(tmp_path / "elsewhere")
    assert read_campaign(tmp_path / "elsewhere" / "campaign.yaml").arms[0].fingerprint == here
    (tmp_path / "elsewhere").rename(tmp_path / "mine")
    others = [None, "rewards.py:short", {"function": "rewards.py:good", "weight": 2}]
    tasks = [SUMS | ({"reward": other} if other else {}) for other in others]
    assert len({here, *(read_campaign(write(task)).arms[0].fingerprint for task in tasks)}) == 4


@pytest.mark.parametrize(
    ("reward", "said"),
    [
        ("gone.py:f", "task.reward: there is no file .*gone.py; check the path"),
        ("rewards.py:goood", "task.reward: .*rewards.py has no 'goood'; it has good, ends, short"),
        ("rewards.py", "task.reward: must name code, got 'rewards.py'; write it as FILE.py:NAME"),
        ("rewards.py:wrong", "task.reward: .* asks for 'completion'"),
        ("rewards.py:raises", "task.reward: fails on a right response, .*: KeyError: 'x'; mend it"),
        (["rewards.py:good", "rewards.py:wrong"], "task.reward.1: .* asks for 'completion'"),
        (["rewards.py:good", "rewards.py:good"], "task.reward: two functions are called 'good'"),
        ({"function": "rewards.py:good", "weight": 0}, "task.reward: weight must be above 0"),
        (
            {"function": "rewards.py:good", "wieght": 2},
            "task.reward.wieght: unknown key; did you mean 'weight'",
        ),
        (3, "task.reward: .* got 3"),
    ],
)
def test_what_cannot_reward_is_refused_in_one_line_with_file_and_key(write, reward, said):
    path = write(SUMS | {"reward": reward})
    with pytest.raises(ConfigError, match=rf"^{path}: {said}"):
        check_campaign(read_campaign(path))


def test_a_good_reward_passes_the_checks(write):
    check_campaign(read_campaign(write(SUMS | {"reward": ["rewards.py:good", "rewards.py:short"]})))


def test_a_right_response_that_no_evaluation_would_count_is_said(write):
    two = [{"function": "rewards.py:good"}, {"function": "rewards.py:short"}]
    (said,) = reward_notices(read_campaign(write(SUMS | {"reward": two})).arms)
    assert said.startswith("task.reward: gives the right response '11;11' 0.0833, and evaluation counts")
    assert reward_notices(read_campaign(write(SUMS | {"reward": "rewards.py:ends"})).arms) == []
    assert reward_notices(read_campaign(write(SUMS)).arms) == []
    wrong_on_purpose = {"num_digits": 2, "misconception": {"fault": "forgets_carry", "rate": 0.98}}
    assert reward_notices(read_campaign(write(SUMS | wrong_on_purpose | {"reward": two})).arms) == []
    members = [{"task": SUMS}, {"task": SUMS | {"reward": two}, "name": "mine"}]
    (said,) = reward_notices(read_campaign(write({"kind": "mixture", "tasks": members})).arms)
    assert said.startswith("task.tasks.1.task.reward: gives the right response")


def test_a_phase_is_rewarded_as_the_run_is(write):
    phases = [{"start": 1, "task": {"reward": "rewards.py:short"}}]
    path = write(SUMS | {"reward": "rewards.py:good"}, phases=phases)
    with pytest.raises(ConfigError, match=r"phases.0.task.reward: must be that of the run's task"):
        check_campaign(read_campaign(path))


def test_a_member_of_a_mixture_has_its_own(write, tmp_path):
    members = [{"task": SUMS | {"reward": "rewards.py:good"}, "name": "a"}, {"task": SUMS, "name": "b"}]
    config = read_campaign(write({"kind": "mixture", "tasks": members})).arms[0].config
    assert list(inputs_of(config)) == ["task.tasks.0.task.reward.0 (rewards.py)"]
    members[0]["task"]["reward"] = "rewards.py:wrong"
    with pytest.raises(ConfigError, match=r"task.tasks.0.task.reward: .* asks for 'completion'"):
        check_campaign(read_campaign(write({"kind": "mixture", "tasks": members})))


def test_a_changed_reward_refuses_to_continue_and_a_run_to_begin(write, tmp_path):
    path = write(SUMS | {"reward": "rewards.py:good"})
    file, helper = tmp_path / "mine" / "rewards.py", tmp_path / "mine" / "helper.py"
    file.write_text("import helper\n" + file.read_text())
    helper.touch()
    folder = prepare(read_campaign(path))
    info = folder.run("grpo", 0).read_info()
    require_inputs(RunConfig(**info.config), info)
    for changed in (file, helper):
        before = changed.read_text()
        changed.write_text(f"{before}# another\n")
        with pytest.raises(ConfigError, match=rf"read other inputs: task.reward.0 \({changed.name}\)"):
            prepare(read_campaign(path))
        with pytest.raises(InputsChangedError, match=changed.name):
            require_inputs(RunConfig(**info.config), info)
        changed.write_text(before)
    prepare(read_campaign(path))


def test_the_schema_takes_what_is_read():
    schema = json_schema("campaign")
    arm = {"name": "x", "learner": {}, "arms": [{"name": "a"}]}
    for reward in ("r.py:f", {"function": "r.py:f"}, ["r.py:f", {"function": "r.py:f", "weight": 2}]):
        jsonschema.validate(arm | {"task": SUMS | {"reward": reward}}, schema)
    for reward in (3, {"weight": 2, "functions": "x"}, [[]]):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(arm | {"task": SUMS | {"reward": reward}}, schema)
