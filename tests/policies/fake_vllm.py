"""A server with vLLM's routes and a real policy behind them, that can be told to fail."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from policies.rollouts.base import Sampling
from policies.rollouts.transformers_engine import TransformersEngine

PAD = 0
LOADING = threading.Lock()
"""Transformers loads one model at a time; real servers are processes of their own."""


class _Listener(ThreadingHTTPServer):
    request_queue_size = 256  # requests that come at once; a real server takes thousands


class FakeServer:
    """One replica on the loopback interface.  It samples with the weights that were pushed to it.

    ``say_503`` and ``hang_up`` count requests for samples that are still to be refused or cut; ``refuse``
    is the status of all of them.  After ``dies_after`` samples were asked for, or when a route is called
    that ``dies_at`` has, so many times after the first, nothing is answered any more.
    """

    def __init__(self, port: int = 0) -> None:
        self.asked: list[dict[str, Any]] = []
        self.calls: Counter[str] = Counter()
        self.shown: set[tuple[str | None, str]] = (
            set()
        )  # what requests were allowed by, and the end of their query
        self.version = "default"
        self.say_503 = self.hang_up = 0
        self.refuse: int | None = None
        self.dies_after: int | None = None
        self.dies_at: dict[str, int] = {}
        self.model: Any = None
        self.masked_ids: list[int] = []
        self.heeds = True  # whether it does without the ids that it is told to
        self.lock = threading.Lock()
        self.server = _Listener(("127.0.0.1", port), self._handler())
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Be gone: connections are refused from now on."""
        self.server.shutdown()
        self.server.server_close()

    def forget(self) -> None:
        """Start again, with the weights that it had at first."""
        self.version, self.dies_after, self.dies_at = "default", None, {}

    def answer(self, path: str, body: dict[str, Any]) -> Any:
        """What a route gives."""
        self.calls[path] += 1
        if path == "/collective_rpc":
            assert body["method"] in ("push_folder", "mask_ids")
            weights = body["args"][:1] if body["method"] == "push_folder" else []
            for folder in weights:
                with LOADING:
                    self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
            (self.masked_ids,) = body["args"][len(weights) :] or [[]]
        elif path == "/update_weight_version":
            self.version = body["new_version"]
        elif path == "/inference/v1/generate":
            return {"choices": self._sample(body)}
        return {}

    def _sample(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        asked = body["sampling_params"]
        self.asked.append(body)
        engine = TransformersEngine(
            self.model,
            pad_id=PAD,
            stop_ids=asked["stop_token_ids"],
            masked_ids=self.masked_ids if self.heeds else (),
        )
        sampling = Sampling(
            temperature=asked["temperature"], max_tokens=asked["max_tokens"], seed=asked["seed"]
        )
        (group,) = engine.generate([torch.tensor(body["token_ids"])], asked["n"], sampling)
        return [
            {
                "index": index,
                "token_ids": sample.tokens.tolist(),
                "logprobs": {"content": [{"logprob": value} for value in sample.logprobs.tolist()]},
                "finish_reason": "stop" if sample.finished else "length",
                "weight_versions": [{"version": self.version, "start": 0, "end": len(sample.tokens)}],
            }
            for index, sample in enumerate(group)
        ]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                path, _, query = self.path.partition("?")
                fake.shown.add((self.headers.get("Authorization"), query.split("&")[-1]))
                with fake.lock:
                    if fake.dies_at.get(path) == fake.calls[path]:
                        fake.dies_after = 0
                    if path == "/v1/load_lora_adapter":
                        fake.calls[path] += 1
                        return self._send_words("Success: LoRA adapter 'policy' added successfully.")
                    if fake.dies_after is not None and len(fake.asked) >= fake.dies_after:
                        return self.connection.close()
                    if path == "/inference/v1/generate":
                        if fake.refuse:
                            return self._send(fake.refuse, {"error": "token 99 is not in the vocabulary"})
                        if fake.hang_up:
                            fake.hang_up -= 1
                            return self.connection.close()
                        if fake.say_503:
                            fake.say_503 -= 1
                            return self._send(503, {"error": "starting"})
                    return self._send(200, fake.answer(path, json.loads(content) if content else {}))

            def do_GET(self) -> None:
                if fake.dies_after == 0:
                    return self.connection.close()
                return self._send(200, fake.answer(self.path.partition("?")[0], {}))

            def _send(self, status: int, body: Any) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def _send_words(self, words: str) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(words)))
                self.end_headers()
                self.wfile.write(words.encode())

            def log_message(self, *_: Any) -> None:
                pass

        return Handler
