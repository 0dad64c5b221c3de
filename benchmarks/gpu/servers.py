"""A vLLM server on the second GPU: weights go there over NCCL, and its death is one clear error."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

import httpx2
import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.colocated import needs
from benchmarks.gpu.engine import GAP_NATS, GROUP, gap
from benchmarks.gpu.models import QWEN_1B5, random_policy
from policies.model.loading import LoadedPolicy
from policies.rollouts.base import EngineUnavailableError, RolloutEngine, Sampling
from policies.rollouts.open_engine import open_engine
from policies.rollouts.settings import VllmServer
from policies.rollouts.vllm_launch import serve_command, serve_environment

START_SECONDS = 120.0
PUSH_LIMIT_SECONDS = 1.0
DEATH_LIMIT_SECONDS = 60.0
ARGUMENTS = ("--dtype", "bfloat16", "--max-model-len", "2048", "--gpu-memory-utilization", "0.5")
ROOT = Path(__file__).parents[2]


def nccl_transfer(bench: Bench) -> None:
    """Push twice with other weights between, and compare the log-probabilities each time."""
    needs(bench, 2)
    policy = random_policy(bench, QWEN_1B5)
    with _served(policy) as (_, url), _engine(policy, url, "nccl") as engine:
        for number in range(2):
            with torch.no_grad():
                for weight in policy.model.parameters():
                    weight.mul_(1.0 + 0.05 * number)
            start = time.perf_counter()
            engine.push(number)
            apart = _gap(bench, policy, engine, number)
            seconds = time.perf_counter() - start
            bench.at_most(f"mean gap after push {number} [nats]", apart, GAP_NATS)
            bench.say(f"push {number} and samples [s]", seconds)
        start = time.perf_counter()
        engine.push(2)
        bench.at_most("a push [s]", time.perf_counter() - start, PUSH_LIMIT_SECONDS, on="h200")


def killed_server(bench: Bench) -> None:
    """Kill the server after a batch; the next one has to fail in time, with an error of the engine."""
    needs(bench, 2)
    policy = random_policy(bench, QWEN_1B5.of_layers(4))
    with _served(policy) as (server, url), _engine(policy, url, "folder") as engine:
        bench.at_most("mean gap before [nats]", _gap(bench, policy, engine, 0), GAP_NATS)
        os.killpg(server.pid, signal.SIGKILL)
        start, said = time.perf_counter(), "nothing"
        try:
            _gap(bench, policy, engine, 1)
        except EngineUnavailableError as error:
            said = str(error)
        bench.require("what is said of it", said != "nothing", said)
        bench.at_most("after [s]", time.perf_counter() - start, DEATH_LIMIT_SECONDS)


def _gap(bench: Bench, policy: LoadedPolicy, engine: RolloutEngine, seed: int) -> float:
    prompts = [torch.arange(1, 9 + number) for number in range(8)]
    groups = engine.generate(prompts, GROUP, Sampling(temperature=1.0, max_tokens=64, seed=seed))
    return gap(bench, policy, prompts, groups, policy.masked_ids).mean().item()


@contextmanager
def _engine(policy: LoadedPolicy, url: str, transfer: Literal["folder", "nccl"]) -> Iterator[RolloutEngine]:
    with tempfile.TemporaryDirectory() as scratch:
        settings = VllmServer(urls=(url,), transfer=transfer, timeout_seconds=120.0, retries=2)
        with closing(open_engine(settings, policy, max_batch_size=64, scratch=Path(scratch))) as engine:
            yield engine


@contextmanager
def _served(policy: LoadedPolicy) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server of a policy on the last GPU, and its address."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        policy.save(Path(folder) / "policy")
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        environment = serve_environment() | {
            "CUDA_VISIBLE_DEVICES": str(torch.cuda.device_count() - 1),
            "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
        }
        command = serve_command(str(Path(folder) / "policy"), port=port, arguments=ARGUMENTS)
        server = subprocess.Popen(command, env=environment, start_new_session=True)
        try:
            _wait(server, url := f"http://127.0.0.1:{port}")
            yield server, url
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _wait(server: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with status {server.returncode}")
        try:
            if httpx2.get(f"{url}/health", timeout=5).is_success:
                return
        except httpx2.RequestError:
            pass  # it does not listen yet
        time.sleep(0.5)
    raise RuntimeError(f"the server did not start within {START_SECONDS:g} s")
