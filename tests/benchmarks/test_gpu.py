"""The checks of a GPU: how they are run, and that each of them works at tiny sizes on a CPU."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import head
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.checks import CHECKS, VLLM_CHECKS, Check
from benchmarks.gpu.runner import run

ROOT = Path(__file__).parents[2]
RUNS = {1, 13}
"""Checks that train whole runs."""
STARTS = 0
"""The check that imports everything, which takes as long as a run."""

OF_OTHERS = {
    "lightning": set(),
    "transformers": {"AutoModelForCausalLM", "PreTrainedModel", "Qwen2Config"},
    "torch": {
        "Generator", "Tensor", "arange", "autocast", "bfloat16", "cat", "cosine_similarity", "device", "dtype", "empty", "empty_like",
        "equal", "float32", "full_like", "manual_seed", "nn", "no_grad", "ones", "optim", "profiler", "rand", "randint",
        "randn", "randn_like", "stack", "version", "zeros", "zeros_like", "__version__", "cuda", "distributed", "utils",
    },
    "torch.cuda": {
        "caching_allocator_alloc", "caching_allocator_delete", "device_count", "empty_cache", "get_device_name",
        "is_available", "is_bf16_supported", "max_memory_allocated", "mem_get_info", "memory_allocated", "memory_reserved",
        "reset_peak_memory_stats", "set_sync_debug_mode", "synchronize",
    },
    "torch.distributed": {"HashStore", "destroy_process_group", "init_process_group"},
    "torch.distributed.device_mesh": {"DeviceMesh", "init_device_mesh"},
    "torch.nn": {"Linear", "Module", "init", "utils"},
    "torch.profiler": {"ProfilerActivity", "profile"},
    "torch.utils._python_dispatch": {"TorchDispatchMode"},
}  # fmt: skip
"""Everything that the checks themselves take from torch and transformers; torch 2.11 and transformers 5.17 have it."""


def passes(bench):
    bench.at_most("a number", 1.0, 2.0)


def is_too_slow(bench):
    bench.at_most("seconds", 3.0, 2.0, on="h200")


def is_wrong(bench):
    bench.at_least("a number", 1.0, 2.0)


def raises(bench):
    raise ValueError("no such thing")


def lacks_a_package(bench):
    import nothing_of_that_name  # noqa: F401


def check(function, seconds=1.0, number=0):
    return Check(number, function.__name__, f"{__name__}:{function.__name__}", seconds, seconds)


def states(path):
    return [(each["title"], each["state"]) for each in json.loads(path.read_text())["checks"]]


def test_a_check_that_fails_or_raises_fails_the_script_and_not_the_next_check(tmp_path, capsys):
    path = tmp_path / "found.json"
    checks = [check(each) for each in (is_wrong, raises, passes, lacks_a_package)]
    assert run(checks, device="cpu", budget_seconds=60, path=path) == 1
    assert states(path) == [
        ("is_wrong", "failed"),
        ("raises", "failed"),
        ("passes", "passed"),
        ("lacks_a_package", "skipped"),
    ]
    printed = capsys.readouterr().out
    assert "FAILED a number: 1  (at least 2)" in printed
    assert "ValueError: no such thing" in printed
    assert "needs the package nothing_of_that_name" in printed
    assert "1 passed, 2 failed, 1 skipped" in printed


def test_what_the_budget_does_not_allow_is_skipped_and_fails_nothing(tmp_path, capsys):
    path = tmp_path / "found.json"
    checks = [check(raises, seconds=100.0), check(passes), check(raises, seconds=70.0)]
    assert run(checks, device="cpu", budget_seconds=60, path=path) == 0
    assert [state for _, state in states(path)] == ["skipped", "passed", "skipped"]
    assert "it takes 100 s, and 60 s are left" in capsys.readouterr().out


def test_limits_of_speed_are_judged_where_they_mean_something(monkeypatch):
    bench = Bench(torch.device("cpu"))
    is_too_slow(bench)
    assert [finding.passes for finding in bench.findings] == [None]
    for name, verdict in {"NVIDIA A100-SXM4-80GB": None, "NVIDIA H200": False}.items():
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _, name=name: name)
        bench = Bench(torch.device("cuda"))
        is_too_slow(bench)
        assert [finding.passes for finding in bench.findings] == [verdict]


def test_without_a_gpu_the_script_says_so(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run([check(passes)], device="cuda", budget_seconds=60, path=None) == 1
    assert "finds no GPU; --device cpu runs everything at tiny sizes" in capsys.readouterr().out


def test_every_check_has_a_number_of_its_own_and_fits_the_budget():
    assert [each.number for each in CHECKS] == list(range(14))
    assert sum(each.seconds for each in CHECKS) <= 600


@pytest.mark.parametrize("number", [c.number for c in CHECKS if c.number not in {STARTS, *RUNS}])
def test_a_check_passes_at_tiny_sizes(number, tmp_path):
    torch.set_num_threads(1)
    path = tmp_path / "found.json"
    chosen = [each for each in CHECKS if each.number == number]
    status = run(chosen, device="cpu", budget_seconds=120, path=path)
    (outcome,) = json.loads(path.read_text())["checks"]
    assert status == 0, outcome
    assert outcome["state"] == "passed"
    assert outcome["findings"]


def test_a_check_sees_statistics_that_are_off(monkeypatch):
    def off(*arguments, **settings):
        logprobs, entropy = right(*arguments, **settings)
        return (logprobs - 0.1, entropy) if torch.is_autocast_enabled("cpu") else (logprobs, entropy)

    right = head.token_statistics
    monkeypatch.setattr(head, "token_statistics", off)
    bench = Bench(torch.device("cpu"))
    head.token_statistics_of_a_large_vocabulary(bench)
    assert {finding.what for finding in bench.findings if finding.passes is False} == {
        "width 1536, log π off [nats]",
        "width 3584, log π off [nats]",
    }


@pytest.mark.slow
@pytest.mark.trains
@pytest.mark.timeout(900)
def test_the_whole_script_passes_on_a_cpu(tmp_path):
    path = tmp_path / "found.json"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.gpu",
            "--device",
            "cpu",
            "--budget-seconds",
            "800",
            "--json",
            path,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert {state for _, state in states(path)} == {"passed"}


def test_without_vllm_and_gpus_a_check_says_what_it_needs(tmp_path):
    path = tmp_path / "found.json"
    chosen = [each for each in VLLM_CHECKS if each.number < 4]
    assert run(chosen, device="cpu", budget_seconds=600, path=path) == 0
    outcomes = json.loads(path.read_text())["checks"]
    assert {each["state"] for each in outcomes} == {"skipped"}
    assert [each["reason"].split(":")[0] for each in outcomes] == [
        "needs a GPU and vLLM",
        "needs 2 GPUs and vLLM",
        "needs 2 GPUs and vLLM",
        "needs 2 GPUs and vLLM",
    ]


@pytest.mark.slow
@pytest.mark.trains
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", [4, 5])
def test_a_killed_rank_and_a_stopped_run_on_a_cpu(number, tmp_path):
    path = tmp_path / "found.json"
    chosen = [each for each in VLLM_CHECKS if each.number == number]
    assert run(chosen, device="cpu", budget_seconds=600, path=path) == 0, path.read_text()
    assert [state for _, state in states(path)] == ["passed"]


def test_what_graders_import_again_is_light():
    code = "import sys, benchmarks.gpu.__main__; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "benchmarks.gpu.checks" in loaded.stdout
    assert not {"torch", "transformers", "lightning", "pydantic"} & set(loaded.stdout.split())


def taken_from_others(file):
    """Names that a file takes from torch and transformers, as (module, name)."""
    tree = ast.parse(file.read_text())
    modules = {"torch": "torch"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in OF_OTHERS:
            for alias in node.names:
                yield node.module, alias.name
                modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            head_, _, rest = owner.partition(".")
            full = ".".join(filter(None, (modules.get(head_), rest)))
            if head_ in modules and full in OF_OTHERS:
                yield full, node.attr


def test_the_checks_take_only_what_older_versions_have():
    files = (ROOT / "benchmarks/gpu").glob("*.py")
    taken = {each for file in files for each in taken_from_others(file)}
    assert len(taken) > 30
    assert {f"{module}.{name}" for module, name in taken if name not in OF_OTHERS[module]} == set()
