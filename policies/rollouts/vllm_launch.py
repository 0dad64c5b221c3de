"""Starts a vLLM server for the engine ``vllm_server``.

    python -m policies.rollouts.vllm_launch MODEL --port 8000 [-- more arguments of vLLM]

Weights are pushed through vLLM's development routes, which let anybody who reaches them run code: keep
the server on the loopback interface, or on a private network that you trust.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from policies.rollouts.vllm_support import why_no_vllm
from policies.rollouts.vllm_worker import EXTENSION

ENVIRONMENT = {
    "VLLM_SERVER_DEV_MODE": "1",  # the routes that push weights
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",  # the one that loads an adapter
    "VLLM_NO_USAGE_STATS": "1",
}


def serve_command(
    model: str, *, port: int, host: str = "127.0.0.1", arguments: Sequence[str] = ()
) -> list[str]:
    """The command of a server; ``arguments`` are vLLM's own and come last."""
    return [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server",
        "--model", model,
        "--host", host,
        "--port", str(port),
        "--enable-scale-out",  # token ids in and out
        "--logprobs-mode", "processed_logprobs",  # of the distribution that was sampled from
        "--generation-config", "vllm",  # nothing from the checkpoint's generation_config.json
        "--worker-extension-cls", EXTENSION,
        *arguments,
    ]  # fmt: skip


def serve_environment() -> dict[str, str]:
    """The environment of a server: this one's, and what makes it take weights."""
    return {**os.environ, **ENVIRONMENT}


def main() -> None:
    """Become the server."""
    own, more = sys.argv[1:], []
    if "--" in own:
        own, more = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", help="a local folder or a hub id; its weights are replaced by the policy's")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--host", default="127.0.0.1", help="the loopback interface; see above for others")
    arguments = parser.parse_args(own)
    if reason := why_no_vllm():
        parser.error(reason)
    command = serve_command(arguments.model, port=arguments.port, host=arguments.host, arguments=more)
    os.execvpe(command[0], command, serve_environment())  # nosec B606  # a list of our own, no shell


if __name__ == "__main__":
    main()
