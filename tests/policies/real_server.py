"""A real vLLM server of the CPU build on the loopback interface, as `vllm_launch` starts it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from policies.model.loading import LoadedPolicy
from policies.rollouts.vllm_launch import serve_command, serve_environment

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 1200


@contextmanager
def serving(
    policy: LoadedPolicy, folder: Path, *arguments: str, transfer: str = "folder", gpu: int | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The process and the address of a server of ``policy``, which is killed at the end if it still lives.

    It sees the ``gpu`` of that number alone, or what there is.
    """
    policy.save(folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    small = (
        "--dtype", "float32", "--max-model-len", "64", "--max-num-seqs", "64", "--block-size", "32",
        "--enforce-eager", "--kv-cache-memory-bytes", str(2**28),
    )  # fmt: skip
    environment = (
        serve_environment(transfer)
        | {
            "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
            "HF_HUB_OFFLINE": "1",
        }
        | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": str(gpu)})
    )
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            serve_command(str(folder), port=port, transfer=transfer, arguments=(*small, *arguments)),
            env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_healthy(url, process, folder / "log.txt")
        yield process, url
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-5000:]
        try:
            if httpx2.get(f"{url}/health", timeout=5).is_success:
                return
        except httpx2.RequestError:
            pass  # it does not listen yet
        time.sleep(0.5)
    raise AssertionError("the server did not start")
