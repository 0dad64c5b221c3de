"""Starts a vLLM server for the engine ``vllm_server``.

    python -m policies.rollouts.vllm_launch MODEL --port 8000 [--transfer nccl] [-- more arguments of vLLM]

Weights are pushed through vLLM's development routes, which let anybody who reaches them run code: keep
the server on the loopback interface, or on a private network that you trust.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from policies.rollouts.vllm_support import GPU_TRANSFERS, why_no_vllm
from policies.rollouts.vllm_worker import EXTENSION

ENVIRONMENT = {
    "VLLM_SERVER_DEV_MODE": "1",  # the routes that push weights
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",  # the one that loads an adapter
    "VLLM_NO_USAGE_STATS": "1",
}


def serve_command(
    model: str,
    *,
    port: int,
    host: str = "127.0.0.1",
    transfer: str = "folder",
    arguments: Sequence[str] = (),
) -> list[str]:
    """The command of a server that takes weights by ``transfer``; ``arguments`` are vLLM's own and come last."""
    takes = ["--weight-transfer-config", json.dumps({"backend": transfer})]
    return [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server",
        "--model", model,
        "--host", host,
        "--port", str(port),
        "--enable-scale-out",  # token ids in and out
        "--logprobs-mode", "processed_logprobs",  # of the distribution that was sampled from
        "--generation-config", "vllm",  # nothing from the checkpoint's generation_config.json
        "--worker-extension-cls", EXTENSION,
        *(takes if transfer in GPU_TRANSFERS else []),
        *arguments,
    ]  # fmt: skip


def serve_environment(transfer: str = "folder") -> dict[str, str]:
    """The environment of a server: this one's, and what makes it take weights by ``transfer``."""
    # Handles of a GPU's memory are pickled.
    handles = {"VLLM_ALLOW_INSECURE_SERIALIZATION": "1"} if transfer == "ipc" else {}
    return {**os.environ, **ENVIRONMENT, **handles}


def main() -> None:
    """Become the server."""
    own, more = sys.argv[1:], []
    if "--" in own:
        own, more = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", help="a local folder or a hub id; its weights are replaced by the policy's")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--host", default="127.0.0.1", help="the loopback interface; see above for others")
    parser.add_argument(
        "--transfer",
        choices=("folder", "adapter", *GPU_TRANSFERS),
        default="folder",
        help="how weights get there, as rollout.engine.transfer says",
    )
    arguments = parser.parse_args(own)
    if reason := why_no_vllm():
        parser.error(reason)
    command = serve_command(
        arguments.model,
        port=arguments.port,
        host=arguments.host,
        transfer=arguments.transfer,
        arguments=more,
    )
    os.execvpe(command[0], command, serve_environment(arguments.transfer))  # nosec B606  # a list of our own, no shell


if __name__ == "__main__":
    main()
